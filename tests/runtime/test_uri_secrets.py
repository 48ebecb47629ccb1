"""Passwords, keys and signatures are found however a uri is written, and masked where it is shown."""

from __future__ import annotations

import re

import pytest

from pipeline.runtime.uri_secrets import holds_secret, masked, places_in

SECRET = [
    "hdfs://u:SEC'RET@b/o",
    'hdfs://u:SEC"RET@b/o',
    "hdfs://u:SEC<RET>@b/o",
    "hdfs://u:SEC RET@h/p",
    "hdfs://KEY:1234/SECRET@host",
    "http://u:1234/SECRET@host:8081/a@b",
    "webhdfs://u:SECRET@h/p",
    "file://u:SECRET@h/x",
    "file://u:1/SECRET@h/x",
    "s3:///KEY:SECRET@bucket/x",
    "s3://KEY:SECRET/bucket",
    "s3://bucket/x%253FX-Amz-Signature%253DSECRET",
    "s3://bucket/x%25253Fsig=SECRET",
    "s3://KEY%253ASECRET@bucket/x",
    "s3://KEY:SECRET@bucket/run",
    "S3://KEY:SECRET@bucket",
    "s3://KEY:SEC/RE+T@bucket/a@b.txt",
    "s3://KEY:/SECRET@bucket",
    "s3://KEY:SEC?RE#T@bucket/x",
    "s3://KEY:SEC,RET@bucket/x",
    "s3://KEY:123@bucket",
    "s3://KEY%3ASECRET@bucket/x",
    "s3://KEY%3ASECRET%40bucket/x",
    "s3://SECRET@bucket/x",
    "gs://user:SECRET@bucket/x",
    "https://user:SECRET@host/x",
    "https://user:SEC/RET@host:80/x",
    "http://SECRET@host",
    "hdfs://me:SECRET@namenode:9000/x",
    "abfss://container:SECRET@account.dfs.core.windows.net/x",
    "https://host/x?X-Amz-Credential=K&X-Amz-Signature=SECRET",
    "s3://bucket/x?AWSAccessKeyId=K&Signature=SECRET",
    "s3://bucket/x?x%2Damz%2Dsignature=SECRET",
    "s3://bucket/x%3FX-Amz-Security-Token=SECRET",
    "gs://bucket/x?X-Goog-Signature=SECRET",
    "az://container/x?sv=2022&sig=SECRET",
    "az://container/x?AccountKey=SECRET",
    "https://host/x?api-key=SECRET",
    "https://host/x?user=me&pw=SECRET",
    "https://host/x?a=1;access_token=SECRET",
    "https://host/x#access_token=SECRET",
    "https://host/?token=SECRET",
    "https://host/?api-key=1&password=SECRET",
]
NONE = [
    "abfss://container@account.dfs.core.windows.net/a:b@c.txt",
    "abfss://container@account.dfs.core.windows.net:443/x",
    "s3://bucket/a:b@c.txt",
    "s3://***@bucket/x",
    "hdfs:///texts/a:b@c.txt",
    "runs/a:b@c.txt",
    "./a:b@c.txt",
    "/a:b@c.txt",
    "file:///a:b@c.txt",
    "texts/mail@home:1.txt",
    "what?.txt",
    "--tokenizer=words:split",
    "abfss://container@account.dfs.core.windows.net/x",
    "hdfs://me@namenode:9000/x",
    "http://host:8081/x",
    "http://[::1]:8081/x",
    "s3://bucket/a@b:c.txt",
    "s3://bucket/part?.txt",
    "s3://bucket/year=2020/part?[a-c]*.txt",
    "s3://bucket/x?versionId=3",
    "s3://bucket: there is no such bucket",
    "file?.txt",
    "texts/a?token=1.txt",
    "file:///texts/a?sig=1.txt",
    "me@host:x",
    "s3://, gs://, az:// are known",
]
WITHOUT_SCHEME = [
    "u:SECRET@host:8081",
    "u:SEC/RET@host:8081",
    "u:p%40SECRET@host",
    "s3:/KEY:SECRET@b",
    "s3:KEY:SECRET@b",
    "s3:/b/x?sig=SECRET",
    "host:8081/x?token=SECRET",
    "@u:SECRET@host",
    "://KEY:SECRET@b",
]
"""In a text they cannot be told from words; options that hold them are refused."""


@pytest.mark.parametrize("uri", SECRET)
def test_a_secret_in_a_uri_is_masked(uri):
    for before, after in [("", ""), ("--input=a.txt,", ",gs://other/x"), ("{'output': '", "'}"), ("@", "")]:
        hidden = masked(before + uri + after)
        assert hidden.startswith(before + uri[:4])
        assert hidden.endswith(after)
        assert "***" in hidden
        assert not any(part in hidden for part in ("SEC", "RET", "123", "KEY"))
        assert masked(hidden) == hidden


@pytest.mark.parametrize("uri", NONE)
def test_what_is_no_secret_stays(uri):
    for text in (uri, f"--input={uri}", f"a.txt,{uri}"):
        assert masked(text) == text


def held(value: str) -> bool:
    return any(map(holds_secret, places_in(value)))


@pytest.mark.parametrize("uri", [*SECRET, *WITHOUT_SCHEME])
def test_a_secret_is_found_wherever_in_a_value_it_stands(uri):
    for value in (uri, f"a.txt,{uri}", f"s3://bucket/x,{uri},b.txt", f'{{"url": "{uri}"}}', f" {uri}", f"a b, {uri}"):
        assert held(value), value
    assert held("u:SEC,RET@host:8081")


@pytest.mark.parametrize("value", ["localhost:5000/beam@sha256:0a1b", "a,b", "texts/a:1.txt,me@home.txt", ",", "@", ""])
def test_what_is_no_secret_in_a_value(value):
    assert not held(value)


def test_what_is_no_secret_stays_none_in_a_list():
    places = [uri for uri in NONE if not re.search("[, ]|token", uri)]
    assert len(places) > 20
    assert not held(",".join(places))

"""What the user sets once, and what may be set anew."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.errors import InputError
from pipeline.series.policies import Settings, changes, options_of, policy_after
from pipeline.series.state import State, fold
from tests.series.logs import Series

FIRST = Settings(root="/texts", by="dt=*", options={"dims": 50, "window": 0, "threads": 4, "max_bad_lines": "2%"})


def begun() -> State:
    return fold([policy_after(State(), FIRST)])


def test_the_first_call_says_where_the_text_is():
    with pytest.raises(InputError, match="--input_root and --by begin one"):
        policy_after(State(), Settings(root="/texts"))
    policy = begun().policy
    assert (policy.root, policy.mode, policy.retrain_every, policy.keep_days) == ("/texts", "update", 7, 7)
    assert "surprise" in policy.gates


def test_options_that_decide_no_byte_are_not_of_the_policy():
    assert begun().policy.options == {"dims": 50, "window": 0, "max_bad_lines": "2%"}
    assert options_of(begun().policy).window == 0


def test_the_same_settings_again_change_nothing():
    assert policy_after(begun(), FIRST) is None
    assert policy_after(begun(), Settings()) is None


def test_a_setting_that_is_not_given_stays():
    state = begun()
    policy = policy_after(state, Settings(keep_days=3, options={"epochs": 2}))
    assert policy.options == {"dims": 50, "window": 0, "max_bad_lines": "2%", "epochs": 2}
    assert sorted(changes(state.policy, policy))[0] == "keep_days is 3, it was 7"


def test_patterns_to_forget_add_up():
    state = begun()
    first = policy_after(state, Settings(forget=("a",)))
    both = policy_after(fold([state.policy, msgspec.structs.replace(first, number=1)]), Settings(forget=("b", "a")))
    assert both.forget == ("a", "b")


def test_what_a_chain_has_in_common_stays():
    series = Series()
    policy_after(series.state, Settings(options={"dims": 7}))  # nothing was made yet
    series.day("2026-11-01")
    with pytest.raises(InputError, match="--dims is 7, it was 100: what a chain"):
        policy_after(series.state, Settings(options={"dims": 7}))
    with pytest.raises(InputError, match="names in the log depend on them"):
        policy_after(series.state, Settings(done="END"))
    assert policy_after(series.state, Settings(options={"min_count": 7})).options == {"min_count": 7}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(mode="hot"), "--mode=hot: allowed are update, warm, cold"),
        (Settings(options={"model": "cbow"}), "--mode=update is for skip-gram"),
        (Settings(gates=("x",)), "there is no such gate"),
        (Settings(by="x"), r"write one \*"),
    ],
)
def test_what_is_not_allowed_is_one_line(settings, message):
    with pytest.raises(InputError, match=message):
        policy_after(begun(), settings)

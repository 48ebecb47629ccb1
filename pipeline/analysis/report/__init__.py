"""One self-contained page about a run, or about two side by side.

`data` collects what is shown as JSON values, `comparison` sets two runs against each
other, `page` puts them into HTML that draws itself and asks no network for anything.
"""

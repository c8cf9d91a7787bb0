"""Discord's v10 shapes of our values: the one codec of everything public, in REST bodies and in frames.

Ring 1 (core). Ids are decimal strings here and ints everywhere else, times are ISO 8601 with `+00:00`, a group
is a *guild*. The set of keys is the one that the strictest client library needs (hikari; `null` where Discord
allows it, but the key is there). Discord has no word for `seq`, `last_seq` and `public`: libraries ignore them.
Read `values` first.
"""

"""Where logins come from: Heroku, and nowhere else.

    host        which Heroku is asked, and the rule where a token may go
    tokens      where the token comes from; token_reading and token_programs are the kinds
                of sources, netrc and child help them
    getter      one request, which only reads: time limit, size limit, no redirects
    answers     what a status and its error body mean, as one of our errors
    shapes      JSON in, frozen types out
    budget      how many requests an account may cost, and how many it did cost
    api         the questions: config vars, apps, attachments, releases
    url         a Postgres URL, taken apart
    gate        who may be asked again, and when: a broken Heroku is asked less often
    overview    which apps have to be read: one list instead of one question for each
    account     an account's databases: sightings, or why there is none
    events      an app's releases as they happen, told by its log
    discovery   databases nobody had to list

The order is also the direction of the imports: each module knows those above it only.
`host`, `tokens` and `url` do without httpx, so quick commands may import them.
"""

import sys

# httpx imports its own command line where it can, and with it rich and pygments: six megabytes
# that a daemon would hold for nothing. None makes that import fail, which httpx is ready for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # Python: "5.3.1. The module cache"

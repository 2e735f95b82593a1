"""Where logins come from: Heroku, and nowhere else.

    host           which Heroku is asked, and the rule where a token, or a log, may go
    tokens         where the token comes from, and how another one gets there
    budget         how many requests an account may cost, and how many it did cost
    network        proxies, certificates, DNS, and what goes wrong on the way
    http           one request, which only reads: time limit, size limit, no redirects
    url            a Postgres URL, taken apart
    answers        what an answer means: JSON as frozen types, refusals as our errors
    api            the questions: config vars, apps, attachments, releases
    backoff        when to ask again: a broken Heroku less often, and what is asked for over and over
    overview       which apps have to be read: one list instead of one question for each
    account        an account's databases: sightings, or why there is none; whose login it is
    discovery      databases nobody had to list
    watched        an account with its databases, where a poll's results go; when its token ends
    poller         when to ask and for what: sweeps, single apps, discovery
    events         apps' logs, whose releases cause a reading at once

The order is also the direction of the imports: each module knows those above it only.
"""

import sys

# httpx imports its own command line where it can, and with it rich and pygments: six megabytes
# that a daemon would hold for nothing. None makes that import fail, which httpx is ready for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # Python: "5.3.1. The module cache"

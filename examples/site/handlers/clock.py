"""What time it is here, or so many hours from UTC: /clock and /clock/2."""

from datetime import datetime, timedelta, timezone

import kennel

app = kennel.App()


@app.get("/")
def here(req):
    return {"time": datetime.now().astimezone().isoformat(timespec="seconds")}


@app.get("/{hours}")
def elsewhere(req, hours):
    try:
        zone = timezone(timedelta(hours=float(hours)))
    except (ValueError, OverflowError):
        raise kennel.Refused(400, f"{hours} is no number of hours from UTC") from None
    return {"time": datetime.now(zone).isoformat(timespec="seconds")}

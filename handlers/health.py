"""Is it alive?"""

from handlers import Body
from promo_api.runtime import Runtime


def ping(_runtime: Runtime) -> Body:
    """Answer, without asking anything that could be down."""
    return {"status": "ok"}

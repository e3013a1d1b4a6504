"""Start the service: in this process, or in several."""

from __future__ import annotations

import logging
import sys

from serving.service.settings import ServeSettings

_log = logging.getLogger(__name__)


def run(settings: ServeSettings) -> None:
    """Serve until SIGTERM.

    Raises:
        MmsearchError: the address cannot be had, or a model, the judgments or the API keys cannot be opened.
    """
    if not settings.is_loopback and settings.api_keys_file is None:
        _log.warning("%s is open to the network, and no API keys are set: anyone there may ask", settings.host)
    if settings.num_workers > 1:
        from serving.service.workers import Workers

        status = Workers(settings).run()
        if status:
            sys.exit(status)
        return
    from serving.service.server import bind, serve

    with bind(settings) as taken:
        serve(settings, taken)

"""Screenshots for README, in a headless Chromium: python -m tests.screenshots docs."""

import shutil
from typing import Any


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver (Debian: chromium, chromium-driver), or None."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def open_browser(width: int = 1280, height: int = 900) -> Any:
    """A headless Chromium that keeps its console's messages."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # Without a sandbox, as root in a container has none; the pages are our own.
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars",
                     "force-prefers-reduced-motion"):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))

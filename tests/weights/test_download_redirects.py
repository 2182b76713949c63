"""A secured address is followed to secured ones only."""

import urllib.error
import urllib.request
from email.message import Message

import pytest

from weights.download import _NoWayBack


def redirected(begin, end):
    return _NoWayBack().redirect_request(urllib.request.Request(begin), None, 302, "Found", Message(), end)


def test_from_https_nothing_leads_to_http():
    with pytest.raises(urllib.error.HTTPError, match=r"http://mirror/a, which is not secured"):
        redirected("https://source/a", "http://mirror/a?token=1")
    with pytest.raises(urllib.error.HTTPError):
        redirected("https://source/a", "ftp://mirror/a")


@pytest.mark.parametrize(
    "begin, end", [("https://a/b", "https://c/d"), ("http://a/b", "http://c/d"), ("http://a/b", "https://c/d")]
)
def test_everything_else_is_followed(begin, end):
    assert redirected(begin, end).full_url == end

"""Makes HTTP requests with one client library: client.py LIBRARY METHOD URL... [--body TEXT]

Prints for each URL a line `STATUS LENGTH MD5`, or `error TYPE` and goes on. Further options:
--header K:V (repeatable), --same (one connection pool for all), --concurrent, --ca FILE.
"""
import argparse
import hashlib
import sys


def report(status, data):
    print(status, len(data), hashlib.md5(data).hexdigest(), flush=True)


def failed(e):
    print("error", type(e).__name__, flush=True)


def with_requests(a):
    import requests
    pool = requests.Session() if a.same else requests
    for url in a.url:
        try:
            r = pool.request(a.method, url, data=a.body, headers=a.headers, allow_redirects=a.follow,
                             verify=a.ca or True, timeout=15)
            report(r.status_code, r.content)
        except requests.RequestException as e:
            failed(e)


def with_httpx(a):
    import httpx
    with httpx.Client(verify=a.ca or True, follow_redirects=a.follow, timeout=15) as pool:
        for url in a.url:
            try:
                if a.same:
                    r = pool.request(a.method, url, content=a.body, headers=a.headers)
                else:
                    r = httpx.request(a.method, url, content=a.body, headers=a.headers,
                                      follow_redirects=a.follow, verify=a.ca or True, timeout=15)
                report(r.status_code, r.content)
            except httpx.HTTPError as e:
                failed(e)


def with_aiohttp(a):
    import asyncio
    import ssl

    import aiohttp
    ctx = ssl.create_default_context(cafile=a.ca) if a.ca else None

    async def one(pool, url):
        try:
            async with pool.request(a.method, url, data=a.body, headers=a.headers,
                                    allow_redirects=a.follow, ssl=ctx or True) as r:
                report(r.status, await r.read())
        except aiohttp.ClientError as e:
            failed(e)

    async def go():
        async with aiohttp.ClientSession() as pool:
            if a.concurrent:
                await asyncio.gather(*(one(pool, u) for u in a.url))
            else:
                for url in a.url:
                    await one(pool, url)
    asyncio.run(go())


def with_urllib(a):
    import http.client
    import ssl
    import urllib.error
    import urllib.request
    ctx = ssl.create_default_context(cafile=a.ca) if a.ca else None
    for url in a.url:
        req = urllib.request.Request(url, method=a.method, headers=a.headers,
                                     data=a.body.encode() if a.body is not None else None)
        try:
            with urllib.request.urlopen(req, timeout=15, context=ctx) as r:
                report(r.status, r.read())
        except urllib.error.HTTPError as e:
            report(e.code, e.read())
        except (OSError, http.client.HTTPException) as e:
            failed(e)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("library", choices=["requests", "httpx", "aiohttp", "urllib"])
    p.add_argument("method")
    p.add_argument("url", nargs="+")
    p.add_argument("--body")
    p.add_argument("--header", action="append", default=[])
    p.add_argument("--same", action="store_true")
    p.add_argument("--follow", action="store_true")
    p.add_argument("--concurrent", action="store_true")
    p.add_argument("--ca")
    a = p.parse_args()
    a.headers = dict(h.split(":", 1) for h in a.header)
    globals()["with_" + a.library](a)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Has the developer tools of Chromium open an archive, and prints what they list: method, URL, status and content, a line each.
# Arguments: the archive, and a folder for the browser. The tools are a page like others, which is told what to do by the browser's protocol;
# what is asked of them is what their menu does. If they know no such thing it says so, and why.

import asyncio
import json
import re
import subprocess
import sys

import websockets

ARCHIVE, HOME = sys.argv[1:]
TOOLS = "devtools://devtools/bundled/"
OPEN = """(async () => {
    const { NetworkPanel } = await import('%(tools)spanels/network/network.js');
    const { NetworkLog } = await import('%(tools)smodels/logs/logs.js');
    const panel = NetworkPanel.NetworkPanel.instance();
    const opens = [panel, panel.networkLogView].find((one) => one && one.onLoadFromFile);
    if (!opens) return ['unknown: how these developer tools open an archive'];
    await opens.onLoadFromFile(new File([%(archive)s], 'a.har'));
    return Promise.all(NetworkLog.NetworkLog.instance().requests().map(async (request) => {
        const data = await request.requestContentData();
        return [request.requestMethod, request.url(), request.statusCode, data.text].join(' ');
    }));
})()"""


class Page:
    def __init__(self, socket):
        self.socket, self.number, self.session = socket, 0, None

    async def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        await self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.recv(), 30))
            if answer.get("id") == self.number:
                return answer["result"]

    async def value(self, expression):
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]


async def look(address):
    async with websockets.connect(address, max_size=None) as socket:
        page = Page(socket)
        target = await page.call("Target.createTarget", url=TOOLS + "devtools_app.html")
        attached = await page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page.session = attached["sessionId"]
        # They are there when they say what they are made of.
        while not await page.value("document.readyState == 'complete' && !!globalThis.UI"):
            await asyncio.sleep(0.05)
        with open(ARCHIVE, encoding="utf-8") as archive:
            expression = OPEN % {"tools": TOOLS, "archive": json.dumps(archive.read())}
        print("\n".join(await page.value(expression)))


async def main():
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"]
    ways = [f"--user-data-dir={HOME}/profile", "--remote-debugging-port=0", "--remote-allow-origins=*"]
    browser = subprocess.Popen(["chromium", *quiet, *ways, "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        said = ""
        for line in browser.stderr:
            said += line
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                return await asyncio.wait_for(look(found[1]), 60)
        raise SystemExit("the browser has not begun: " + said)
    finally:
        browser.kill()
        browser.wait()


asyncio.run(main())

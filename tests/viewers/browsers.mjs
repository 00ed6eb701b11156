// The browsers of this machine, without a window. Refuses nothing but the network: a browser that is not there is a
// reason to say so, and what a page asks for beyond files is a failure.
import fs from 'node:fs';
import puppeteer from 'puppeteer-core';

const PLACES = {
  chrome: [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/google-chrome'],
  firefox: [process.env.FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox'],
};
const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** Starts `chrome` or `firefox` with an empty profile; null if there is none. `dark`: Firefox prefers dark pages. */
export async function start(name, dark = false) {
  const executablePath = PLACES[name].find(path => path && fs.existsSync(path));
  if (!executablePath) return null;
  return puppeteer.launch({
    browser: name, executablePath, headless: true, args: name == 'chrome' ? QUIET : [],
    // A page as people have it: scroll bars take room.
    ignoreDefaultArgs: ['--hide-scrollbars'],
    extraPrefsFirefox: dark ? { 'layout.css.prefers-color-scheme.content-override': 0 } : {},
  });
}

/** A new page, with what went wrong on it in `page.wrong`. */
export async function open(browser, url, width = 1200, height = 800) {
  const page = await browser.newPage();
  page.wrong = [];
  page.on('console', message => page.wrong.push(`console: ${message.text()}`));
  page.on('pageerror', error => page.wrong.push(`error: ${error?.message ?? error}`));
  page.on('dialog', dialog => { page.wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss() });
  page.on('request', request => {
    if (!/^(file|data|about):/.test(request.url())) page.wrong.push(`network: ${request.url()}`);
  });
  await page.setViewport({ width, height });
  await page.goto(url);
  return page;
}

/** Pixels of the page at `points`, [x, y] each, as [red, green, blue]. */
export async function pixels(page, points) {
  const shot = await page.screenshot({ encoding: 'base64' });
  const blank = await page.browser().newPage();
  const found = await blank.evaluate(async (shot, points) => {
    const image = new Image();
    image.src = 'data:image/png;base64,' + shot;
    await image.decode();
    const context = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height })
      .getContext('2d');
    context.drawImage(image, 0, 0);
    return points.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3));
  }, shot, points);
  await blank.close();
  return found;
}

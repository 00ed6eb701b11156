// A flame graph in real browsers, from file://, against facts about it that do not come from it.
//
//   node svg.mjs GRAPH.svg FACTS.json [FOLDER]      FOLDER: where screenshots go; BROWSERS=chrome for one only
//
// FACTS.json: { title, about: [what the second line holds, ...], samples, period (ns, or 0),
//   boxes: [[depth, file, function, line, samples], ...],      parents first, siblings from left to right; depth from 1
//   searches: [[expression, percent of samples], ...] }
// Names are as they are to be shown. A process has the function that is its title, no file and line -1; what is no
// Python has no file and line 0.
//
// The boxes are looked for where the facts put them, with mouse and keyboard, and asked by what the page then tells.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { open, pixels, start } from './browsers.mjs';
import { Graph, classOf, readFacts } from './graph.mjs';

const [svg, factsFile, folder] = process.argv.slice(2);
const facts = readFacts(factsFile);
const url = pathToFileURL(path.resolve(svg)).href;
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'pyflame-svg-'));
const sums = { passed: 0, failed: 0, skipped: 0 };

/** A box to zoom into: not the whole, with others beside it and on it; the widest of those. */
const target = facts.boxes.filter(b => b.depth > 1 && b.samples < 0.9 * facts.samples && b.function && b.file
  && facts.boxes.some(c => c.parent == b)).sort((a, b) => b.samples - a.samples)[0];
assert(target, 'the facts have no box to zoom into');
const child = facts.boxes.filter(c => c.parent == target).sort((a, b) => b.samples - a.samples)[0];
/** At most 60 of the boxes that a mouse can hit, from all over. */
const wide = facts.boxes.filter(b => b.samples / facts.samples * 1000 >= 4);
const some = wide.filter((_, i) => i % Math.ceil(wide.length / 60) == 0);

const CHECKS = {
  async 'static boxes'(browser) {
    const page = await browser.newPage();
    const drawn = await page.evaluate(text => {
      const svg = new DOMParser().parseFromString(text, 'application/xml');
      return [...svg.querySelectorAll('#b > path')].map(p => ({ d: p.getAttribute('d'), c: p.getAttribute('class') }));
    }, fs.readFileSync(svg, 'utf8'));
    const expected = [facts.all, ...facts.boxes].filter(b => b.samples * 1180 / facts.samples >= 1);
    assert.equal(drawn.length, expected.length);
    for (const [i, b] of expected.entries()) {
      const [x, y, width] = drawn[i].d.match(/-?[\d.]+/g).map(Number);
      assert(Math.abs(x - 10 - b.first * 1180 / facts.samples) < 0.2, `${b.function} begins at ${x}`);
      assert(Math.abs(width - b.samples * 1180 / facts.samples) < 0.8, `${b.function} is ${width} wide`);
      assert.equal(y, 60 + 16 * (facts.deepest - b.depth));
      if (b.plain) assert.equal(drawn[i].c, classOf(b), `${b.file} ${b.function}`);
    }
    await page.close();
  },

  async 'draws and tells every box'(_, page) {
    const graph = await Graph.of(page, facts);
    const shown = await page.evaluate(() => document.querySelector('foreignObject').textContent);
    for (const part of [facts.title, ...facts.about]) assert(shown.includes(part), `${part} is not in ${shown}`);
    assert.equal(await page.evaluate(() => document.querySelectorAll('#b > text, #h, #i').length), 0);
    for (const b of [facts.all, ...some]) graph.check(await graph.hover(b), b);
  },

  async 'the colour tells where a function is from'(_, page) {
    const graph = await Graph.of(page, facts);
    for (const b of some.filter(b => b.plain)) assert.equal(await graph.classAt(b), classOf(b), b.function);
  },

  async 'labels stay in their boxes'(_, page) {
    const labels = await page.evaluate(() => [...document.querySelectorAll('svg > g > svg')].map(box => {
      const text = box.firstChild, { left, right } = box.getBoundingClientRect();
      return { text: text.textContent, left, right, end: text.getBoundingClientRect().right };
    }));
    assert(labels.length, 'there are no labels');
    for (const label of labels) {
      if (/^[ -~…]*$/.test(label.text)) assert(label.end <= label.right + 0.5, JSON.stringify(label));
    }
  },

  async 'a click zooms, button and Escape reset'(_, page) {
    const graph = await Graph.of(page, facts);
    for (const back of [() => page.click('button'), () => page.keyboard.press('Escape')]) {
      await graph.click(target);
      await graph.checkZoomed(target);
      graph.check(await graph.hover(child, 0.5, target), child, target);
      await back();
      await graph.checkZoomed(facts.all);
      graph.check(await graph.hover(target), target);
    }
  },

  async 'search highlights and tells the share'(_, page) {
    const graph = await Graph.of(page, facts);
    for (const [pattern, percent] of facts.searches) {
      await graph.search(pattern);
      assert.equal(await graph.found(), `matched ${percent.toFixed(2)} %`, pattern);
      assert.equal(await graph.highlighted(), graph.expectHighlighted(pattern), pattern);
    }
    await graph.search('a(');
    assert.match(await graph.found(), /Unterminated group|unterminated parenthetical/);
    assert.equal(await graph.highlighted(), 0);
    assert(await page.evaluate(() => document.querySelector('input').matches(':invalid')));
    await page.keyboard.press('Escape');
    assert.equal(await graph.found(), '');
    assert.equal(await page.evaluate(() => document.querySelector('input').value), '');
  },

  async 'a search within a zoomed box'(_, page) {
    const graph = await Graph.of(page, facts);
    await graph.click(target);
    await graph.search(`^${graph.quoted(target.function)}$`);
    assert.equal(await graph.found(), 'matched 100.00 %');
    await page.keyboard.press('Escape');
  },

  async 'icicle and flame'(_, page) {
    const graph = await Graph.of(page, facts);
    const texts = () => page.$$eval('button', all => all.map(b => b.textContent));
    assert.deepEqual(await texts(), ['Reset', 'Icicle']);
    const { y } = await graph.place(facts.all);
    await page.click('button:last-of-type');
    assert.deepEqual(await texts(), ['Reset', 'Flame']);
    graph.icicle = true;
    assert((await graph.place(facts.all)).y < y, 'the root is at the top');
    for (const b of some.slice(0, 20)) graph.check(await graph.hover(b), b);
    await page.click('button:last-of-type');
    graph.icicle = false;
    graph.check(await graph.hover(facts.all), facts.all);
  },

  async 'keys'(_, page) {
    const graph = await Graph.of(page, facts);
    const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.localName);
    for (let i = 0; await focused() != 'k'; i++) {
      assert(i < 9, 'Tab does not get to the boxes');
      await page.keyboard.press('Tab');
    }
    graph.check(await graph.told(), facts.all);
    const heaviest = b => facts.boxes.filter(c => c.parent == b).sort((a, c) => c.samples - a.samples)[0];
    let at = facts.all;
    for (let i = 0; i < 4 && heaviest(at) && heaviest(at).samples > facts.samples / 300; i++) {
      at = heaviest(at);
      await page.keyboard.press('ArrowUp');
      graph.check(await graph.told(), at);
    }
    const row = graph.drawn().filter(b => b.depth == at.depth), place = row.indexOf(at);
    await page.keyboard.press('ArrowRight');
    graph.check(await graph.told(), row[place + 1] ?? at);
    if (row[place + 1]) await page.keyboard.press('ArrowLeft');
    graph.check(await graph.told(), at);
    await page.keyboard.press('Enter');
    graph.check(await graph.told(), at, at);
    assert.equal(await focused(), 'k');
    await page.keyboard.press('ArrowDown');
    graph.check(await graph.told(), at.parent, at);
    await graph.checkZoomed(at);
    await page.keyboard.press('Escape');
    await graph.checkZoomed(facts.all);
    await page.keyboard.press('/');
    assert.equal(await focused(), 'input');
    assert.equal(await page.evaluate(() => document.querySelector('input').value), '');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.down('Control');
    await page.keyboard.press('f');
    await page.keyboard.up('Control');
    assert.equal(await focused(), 'input');
  },

  async 'stays where it is scrolled to'(_, page) {
    await page.setViewport({ width: 1200, height: 300 });
    for (const wanted of [200, 150, 117, 85, 52, 20]) {
      const [asked, is] = await page.evaluate(async wanted => {
        const most = document.documentElement.scrollHeight - innerHeight;
        scrollTo(0, Math.min(wanted, most));
        for (let i = 0; i < 5; i++) await new Promise(done => requestAnimationFrame(done));
        return [Math.min(wanted, most), scrollY];
      }, wanted);
      assert.equal(is, asked);
    }
    await page.setViewport({ width: 1200, height: 800 });
  },

  async 'another width'(_, page) {
    const graph = await Graph.of(page, facts);
    for (const width of [600, 1900, 1200]) {
      await page.setViewport({ width, height: 800 });
      await page.waitForFunction(() => {
        const root = document.documentElement;
        return root.getAttribute('width') == root.clientWidth && root.scrollWidth <= root.clientWidth;
      });
      graph.check(await graph.hover(target), target);
      if (folder) await page.screenshot({ path: path.join(folder, `${browserName}-${width}.png`) });
    }
  },

  async 'light and dark'(browser, page) {
    for (const mode of ['light', 'dark']) {
      const other = browserName == 'firefox' && mode == 'dark' && await start('firefox', true);
      const seen = other ? await open(other, url) : page;
      if (!other && browserName == 'chrome') {
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: mode }]);
      }
      const graph = await Graph.of(seen, facts);
      const { ground, least } = await graph.contrast();
      assert.equal(ground > 0.5, mode == 'light', `the ground has luminance ${ground}`);
      assert(least >= 4.5, `${mode}: text has a contrast of ${least}`);
      if (folder) {
        await seen.screenshot({ path: path.join(folder, `${browserName}-${mode}.png`) });
        await graph.click(target);
        await graph.search(graph.quoted(child.function));
        await seen.screenshot({ path: path.join(folder, `${browserName}-${mode}-zoomed.png`) });
        await seen.keyboard.press('Escape');
      }
      if (other) await other.close();
    }
  },

  async 'printed'(_, page) {
    if (browserName == 'chrome') await page.emulateMediaType('print');
    const printed = await page.pdf({ path: folder && path.join(folder, `${browserName}.pdf`) });
    assert(printed.length > 5000);
    if (browserName != 'chrome') return;
    assert.equal(await page.$eval('input', e => getComputedStyle(e).display), 'none');
    assert.notEqual(await page.$eval('foreignObject', e => getComputedStyle(e).display), 'none');
    await page.emulateMediaType('screen');
  },

  async 'as <img>'(browser) {
    const holder = path.join(temporary, 'img.html');
    fs.writeFileSync(holder, `<!DOCTYPE html><body style="margin:0"><img src="${url}">`);
    const page = await open(browser, pathToFileURL(holder).href, 1250, 400);
    const size = await page.$eval('img', e => [e.naturalWidth, e.naturalHeight]);
    assert.deepEqual(size, [1200, 60 + 16 * (facts.deepest + 1) + 30]);
    await page.evaluate(() => scrollTo(0, 1e7));
    const scrolled = await page.evaluate(() => scrollY);
    const boxes = wide.filter(b => b.samples * 1180 / facts.samples > 9 && b.depth < 20 && b.plain);
    const seen = await pixels(page, boxes.map(b =>
      [10 + (b.first + b.samples) * 1180 / facts.samples - 2 | 0, 60 + 16 * (facts.deepest - b.depth) + 13 - scrolled]));
    if (folder) await page.screenshot({ path: path.join(folder, `${browserName}-img.png`) });
    const colours = await Graph.colours(browser, url);
    for (const [i, b] of boxes.entries()) {
      assert.deepEqual(seen[i], colours[classOf(b)], `${b.function}, ${classOf(b)}`);
    }
    assert.deepEqual(page.wrong, []);
    await page.close();
  },

  async 'as <object> and <iframe>'(browser) {
    for (const tag of [`<object data="${url}">`, `<object data="${url}" width="700">`,
      `<iframe src="${url}" width="900" height="300">`]) {
      const holder = path.join(temporary, 'frame.html');
      fs.writeFileSync(holder, `<!DOCTYPE html><body>${tag}`);
      const page = await open(browser, pathToFileURL(holder).href, 1300, 900);
      const frame = page.frames().find(f => f.url() == url);
      assert(frame, `${tag} has no frame`);
      const graph = await Graph.of(page, facts, frame, await page.$('object, iframe'));
      graph.check(await graph.hover(target), target);
      await graph.click(target);
      await graph.checkZoomed(target);
      assert.deepEqual(page.wrong, []);
      await page.close();
    }
  },

  async 'is quick'(_, page) {
    const graph = await Graph.of(page, facts);
    const times = [await graph.time('zoom', () => graph.click(target)),
      await graph.time('reset', () => page.click('button')),
      await graph.time('search', () => graph.search('[e-z]+_?\\d*', true))];
    await page.keyboard.press('Escape');
    console.log(`     ${facts.boxes.length} boxes: ${times.map(t => `${t.name} ${t.ms} ms`).join(', ')} of script`);
    for (const t of times) assert(t.ms < 1000, `${t.name} takes ${t.ms} ms`);
  },

  async 'nothing came in, nothing went out'(_, page) {
    const tags = await page.evaluate(() => [...new Set([...document.querySelectorAll('*')].map(e => e.localName))]);
    const known = ['svg', 'title', 'style', 'rect', 'text', 'g', 'path', 'script', 'foreignObject', 'div', 'b', 'input',
      'output', 'button', 'p', 'a'];
    assert.deepEqual(tags.filter(t => !known.includes(t)), []);
    assert.deepEqual(await page.evaluate(() => [document.querySelectorAll('script').length,
      document.querySelectorAll('[onload],[onerror],[onclick],[href]').length]), [2, 0]);
    assert.deepEqual(page.wrong, []);
  },
};

let browserName;
for (browserName of (process.env.BROWSERS ?? 'chrome,firefox').split(',')) {
  const browser = await start(browserName);
  if (!browser) {
    console.log(`skip ${browserName}: not on this machine`);
    sums.skipped++;
    continue;
  }
  console.log(`# ${await browser.version()}`);
  const page = await open(browser, url);
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      await check(browser, page);
      sums.passed++;
      console.log(`ok   ${name}`);
    } catch (error) {
      sums.failed++;
      console.log(`FAIL ${name}: ${error.stack}`);
      await page.reload();
    }
  }
  await browser.close();
}
fs.rmSync(temporary, { recursive: true });
console.log(`flame graph: ${sums.passed} passed, ${sums.failed} failed, ${sums.skipped} skipped`);
process.exit(sums.failed ? 1 : 0);

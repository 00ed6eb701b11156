// A drawn flame graph as its user meets it: boxes at places, told about in words. Where a box must be follows from the
// facts, never from the page.
import assert from 'node:assert/strict';
import fs from 'node:fs';

/** The facts of a file, see svg.mjs, their boxes as objects with parent and first sample, `all` among them. */
export function readFacts(file) {
  const facts = JSON.parse(fs.readFileSync(file, 'utf8'));
  const all = { depth: 0, file: '', function: 'all', line: -1, samples: facts.samples, first: 0, next: 0 };
  const path = [all];
  facts.boxes = facts.boxes.map(([depth, file, name, line, samples]) => {
    const parent = path[depth - 1];
    const box = { depth, file, function: name, line, samples, parent, first: parent.next, next: parent.next };
    parent.next += samples;
    assert(parent.next <= parent.first + parent.samples, `too many samples in ${parent.function}`);
    return path[depth] = box;
  });
  for (const b of [all, ...facts.boxes]) b.plain = /^[\x20-\x5b\x5d-\x7e]*$/.test(b.file + b.function);
  return { ...facts, all, deepest: path.length - 1 };
}

/** The class that gives a box its colour; of plain names only. */
export function classOf({ file, function: name, line }) {
  if (line == -1) return 'cr';
  if (file == '') return 'cs';
  const sum = [...name].reduce((sum, c) => sum + c.charCodeAt(0), 0);
  const library = file.startsWith('<frozen ') || file.includes('lib/python') || file.includes('lib64/python');
  return `c${(file.includes('-packages/') ? 4 : library ? 8 : 0) + sum % 4}`;
}

const percent = (part, whole) => (100 * part / whole).toFixed(2) + ' %';

export class Graph {
  /** The graph in `frame` of `page`, which is `holder`'s; without these the page itself. Nothing is zoomed in it. */
  static async of(page, facts, frame = page.mainFrame(), holder = null) {
    await frame.waitForSelector('foreignObject');
    await page.bringToFront();
    const graph = Object.assign(new Graph(), { page, facts, frame, holder, zoomed: facts.all, icicle: false });
    graph.width = await frame.evaluate(() => document.documentElement.clientWidth);
    return graph;
  }

  /** The colour of each class, as [red, green, blue], on a light page. */
  static async colours(browser, url) {
    const page = await browser.newPage();
    await page.goto(url);
    const colours = await page.evaluate(() => Object.fromEntries(
      [...Array(12).keys(), 's', 'r'].map(c => {
        const group = document.querySelector('#b');
        const path = group.appendChild(document.createElementNS(group.namespaceURI, 'path'));
        path.setAttribute('class', `c${c}`);
        return [`c${c}`, getComputedStyle(path).fill.match(/\d+/g).map(Number)];
      })));
    await page.close();
    return colours;
  }

  /** Boxes wide enough to be drawn while nothing is zoomed. */
  drawn() {
    return [this.facts.all, ...this.facts.boxes].filter(b => b.samples * (this.width - 20) / this.facts.samples >= 0.3);
  }

  /** Where a box must be, brought into sight: x and y of a point in it, in the window of the page. `part`: 0 to 1. */
  async place(box, part = 0.5, zoomed = this.zoomed) {
    const { width, height, top } = await this.frame.evaluate(() => {
      const root = document.documentElement;
      return { width: root.clientWidth, height: +root.getAttribute('height'),
        top: +document.querySelector('foreignObject').getAttribute('height') };
    });
    this.width = width;
    const scale = (width - 20) / zoomed.samples;
    const first = Math.max(box.first, zoomed.first);
    const samples = Math.min(box.first + box.samples, zoomed.first + zoomed.samples) - first;
    const x = 10 + (first - zoomed.first + samples * part) * scale + (part == 0 ? 1 : part == 1 ? -1.5 : 0);
    const y = this.icicle ? top + 16 * box.depth + 7 : height - 10 - 16 * (box.depth + 1) + 7;
    const scrolled = await this.frame.evaluate(y => {
      scrollTo(0, y - innerHeight / 2);
      // The bar follows with the next frame.
      return new Promise(done => requestAnimationFrame(() => setTimeout(() => done(scrollY))));
    }, y);
    if (!this.holder) return { x, y: y - scrolled };
    const at = await this.holder.evaluate((e, y) => {
      scrollBy(0, e.getBoundingClientRect().top + y - innerHeight / 2);
      const r = e.getBoundingClientRect();
      return { x: r.left + e.clientLeft, y: r.top + e.clientTop };
    }, y - scrolled);
    return { x: at.x + x, y: at.y + y - scrolled };
  }

  /** What is told about the box under the mouse after it went to where `box` must be. */
  async hover(box, part, zoomed) {
    const { x, y } = await this.place(box, part, zoomed);
    await this.page.mouse.move(x, y + 3);
    await this.page.mouse.move(x, y);
    // A page hears of it with its next frame.
    await this.frame.evaluate(() => new Promise(done => requestAnimationFrame(() => setTimeout(done))));
    return this.told();
  }

  async click(box) {
    const { x, y } = await this.place(box);
    await this.page.mouse.click(x, y);
    return box;
  }

  /** The line about a box, and its tooltip, which has to say the same. */
  async told() {
    const [line, tip, label] = await this.frame.evaluate(() => [document.querySelector('p[role=status]').textContent,
      document.querySelector('#k title').textContent, document.querySelector('#k').getAttribute('aria-label')]);
    const parts = line.split(' \u2003 ');
    assert.equal(tip, parts.join('\n'));
    assert.equal(label, parts.join());
    return parts;
  }

  /** That `told` is about `box`, with all there is to say; and with its share of `zoomed`, if one is given. */
  check([name, counts, place], box, zoomed) {
    const { facts } = this;
    assert.equal(name, box.function);
    assert(counts.startsWith(percent(box.samples, facts.samples) + ' of all, '), `${name}: ${counts}`);
    assert(counts.includes(` ${box.samples.toLocaleString('en')} samples`), `${name}: ${counts}`);
    assert.equal(counts.endsWith(' s'), facts.period > 0, counts);
    assert.equal(place, box.file && box.file + (box.line > 0 ? `:${box.line}` : ''));
    const part = zoomed && zoomed != facts.all && box.samples <= zoomed.samples;
    if (part) assert(counts.includes(`, ${percent(box.samples, zoomed.samples)} of ${zoomed.function}, `), counts);
  }

  /** That `zoomed` and all that it stands on are as wide as the window. */
  async checkZoomed(zoomed) {
    for (let box = zoomed; box; box = box.parent) {
      for (const part of [0, 1]) this.check(await this.hover(box, part, zoomed), box, zoomed);
    }
  }

  async search(text, at_once = false) {
    await this.page.evaluate(() => { document.querySelector('input').select(); document.querySelector('input').focus() });
    await this.page.keyboard.press('Backspace');
    if (!at_once) await this.page.keyboard.type(text);
    else if (this.session) await this.page.keyboard.sendCharacter(text);
    else {
      await this.page.evaluate(text => {
        const field = document.querySelector('input');
        field.value = text;
        field.dispatchEvent(new Event('input'));
      }, text);
    }
  }

  found() {
    return this.frame.evaluate(() => document.querySelector('output').textContent);
  }

  quoted(text) {
    return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  }

  /** How many boxes are drawn as found. */
  highlighted() {
    return this.frame.evaluate(() => [...document.querySelectorAll('#b path.m')]
      .reduce((sum, path) => sum + path.getAttribute('d').match(/M/g).length, 0));
  }

  expectHighlighted(pattern) {
    const wanted = RegExp(pattern, /[A-Z]/.test(pattern) ? '' : 'i');
    return this.drawn().filter(b => wanted.test(b.function) || wanted.test(b.file)
      || b.file && wanted.test(`${b.file}:${b.function}:${b.line}`)).length;
  }

  /** The class of what is drawn where a box must be. */
  async classAt(box) {
    const { x, y } = await this.place(box);
    return this.frame.evaluate((x, y) => document.elementsFromPoint(x, y).find(e => e.localName == 'path')
      ?.getAttribute('class'), x, y);
  }

  /** The luminance of the ground, and the least contrast of a label with what it stands on (WCAG 2, 1.4.3). */
  contrast() {
    return this.frame.evaluate(() => {
      const rgb = colour => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
      const luminance = colour => colour.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
      const ground = rgb(getComputedStyle(document.querySelector('#bg')).fill);
      let least = 99;
      for (const text of document.querySelectorAll('svg > g > svg > text')) {
        const { left, top } = text.parentNode.getBoundingClientRect();
        const box = document.elementsFromPoint(left + 2, top + 2).find(e => e.localName == 'path');
        if (!box) continue;
        const style = getComputedStyle(box), opacity = style.fillOpacity * style.opacity;
        const under = luminance(rgb(style.fill).map((c, i) => opacity * c + (1 - opacity) * ground[i]));
        const own = luminance(rgb(getComputedStyle(text).fill));
        least = Math.min(least, (Math.max(own, under) + 0.05) / (Math.min(own, under) + 0.05));
      }
      return { ground: luminance(ground), least };
    });
  }

  /** Milliseconds of script that `act` takes: of the processor's time in Chromium, by the clock elsewhere. */
  async time(name, act) {
    if (!this.session) {
      this.session = await this.page.createCDPSession().catch(() => null);
      await this.session?.send('Performance.enable', { timeDomain: 'threadTicks' });
    }
    const taken = async () => this.session
      ? (await this.session.send('Performance.getMetrics')).metrics.find(m => m.name == 'ScriptDuration').value * 1000
      : this.page.evaluate(() => window.scriptTime ?? 0);
    await this.page.evaluate(() => {
      const clocked = f => f.clocked ? f : Object.assign(e => {
        const begun = performance.now();
        f(e);
        window.scriptTime = (window.scriptTime ?? 0) + performance.now() - begun;
      }, { clocked: true });
      const root = document.documentElement, field = document.querySelector('input');
      const reset = document.querySelector('button');
      root.onclick = clocked(root.onclick);
      reset.onclick = clocked(reset.onclick);
      field.oninput = clocked(field.oninput);
    });
    const before = await taken();
    await act();
    return { name, ms: Math.round(await taken() - before) };
  }
}

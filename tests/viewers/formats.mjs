// A profile in every format, read by those that people open it with: speedscope's importer, in a browser, reads four of
// them, the protobuf library and Google's description of the format the fifth, JSON and lines the rest. Each has to give
// the stacks and the counts that stand beside it.
//
//   node formats.mjs DIRECTORY      what `cargo test hostile_names` wrote with PYFLAME_VIEWERS=DIRECTORY
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import zlib from 'node:zlib';
import { start } from './browsers.mjs';

const require = createRequire(import.meta.url);
const directory = path.resolve(process.argv[2]);
const RELEASE = path.join(path.dirname(require.resolve('speedscope/package.json')), 'dist/release/index.html');
const read = name => fs.readFileSync(path.join(directory, name));

/** Adds `count` to that of a stack in `map`. */
const add = (map, stack, count) => map.set(JSON.stringify(stack), (map.get(JSON.stringify(stack)) ?? 0) + count);

/** The stacks that have to be there, each as `frame` shows its frames. */
function expected(format, frame, isFrame = () => true) {
  const map = new Map();
  for (const { count, frames } of JSON.parse(read(`${format}.expected`))) {
    add(map, frames.filter(isFrame).map(frame), count);
  }
  return map;
}

const isCode = f => f[4] >= 0;
const OWN = [['(idle)', 17], ['(failed)', 5]];

/** Fails unless both maps are equal, and names what is not. */
function same(found, wanted) {
  for (const [stack, count] of wanted) {
    assert(Math.abs((found.get(stack) ?? 0) - count) < 0.01, `${found.get(stack)} instead of ${count} of ${stack}`);
  }
  for (const [stack, count] of found) assert(wanted.has(stack), `${count} of ${stack}, which is not there`);
}

/** The stacks of a file in speedscope's own format, as `frame` shows frames, with the unit of time that a sample takes. */
function stacksOf(file, frame, sample) {
  const map = new Map();
  for (const p of file.profiles) {
    if (p.type == 'sampled') {
      p.samples.forEach((stack, i) => add(map, stack.map(n => frame(file.shared.frames[n])), p.weights[i] / sample(p)));
      continue;
    }
    const now = [];
    let last = p.startValue;
    for (const { type, frame: n, at } of p.events) {
      if (at > last && now.length) add(map, now.map(n => frame(file.shared.frames[n])), (at - last) / sample(p));
      last = at;
      if (type == 'O') now.push(n); else assert.equal(now.pop(), n);
    }
  }
  return map;
}

/** What speedscope makes of a file: what it saves after it has read it. */
async function imported(browser, name) {
  const page = await browser.newPage();
  const wrong = [];
  page.on('console', message => wrong.push(message.text()));
  page.on('pageerror', error => wrong.push(error.message));
  await page.evaluateOnNewDocument(() => {
    const create = URL.createObjectURL;
    URL.createObjectURL = blob => { window.saved = blob; return create.call(URL, blob) };
  });
  // As its command line does it: a script that the page loads.
  const script = path.join(directory, `${name}.js`);
  fs.writeFileSync(script, `speedscope.loadFileFromBase64(${JSON.stringify(name)}, "${read(name).toString('base64')}")`);
  await page.goto(`${pathToFileURL(RELEASE)}#localProfilePath=${script}`);
  await page.waitForFunction(name => document.title.startsWith(name) || document.title.includes(' - speedscope'), {}, name);
  await page.keyboard.down('Control');
  await page.keyboard.press('s');
  await page.keyboard.up('Control');
  await page.waitForFunction(() => window.saved, { timeout: 20000 });
  const text = await page.evaluate(() => window.saved.text());
  await page.close();
  assert.deepEqual(wrong.filter(text => /warn|error|ignor|request to end/i.test(text)), [], 'speedscope complains');
  return JSON.parse(text);
}
const ENDINGS = { folded: 'folded', speedscope: 'speedscope.json', chrome: 'json', cpuprofile: 'cpuprofile' };

const own = map => { for (const [name, count] of OWN) add(map, [name], count); return map };
const nanoseconds = () => 1e6, microseconds = () => 1e3, ones = () => 1;

/** What each reader has to find, and how it says it. */
const READERS = {
  async folded(browser) {
    const file = await imported(browser, 'folded.folded');
    same(stacksOf(file, f => f.name, ones), own(expected('folded', f => f[5])));
  },
  async speedscope(browser) {
    const file = await imported(browser, 'speedscope.speedscope.json');
    const lanes = file.profiles.map(p => p.name).filter(name => name.startsWith('pid '));
    assert.deepEqual(new Set(lanes), new Set(JSON.parse(read('speedscope.expected')).map(
      ({ frames: [process, thread] }) => `${process[0]}, ${thread[0]}`)), 'a profile for each thread');
    const frame = f => [f[1], f[0] || null, f[4] || null];
    const wanted = expected('speedscope', frame, isCode);
    for (const [name, count] of OWN) add(wanted, [[name, null, null]], count);
    same(stacksOf(file, f => [f.name, f.file ?? null, f.line ?? null], nanoseconds), wanted);
  },
  async chrome(browser) {
    const file = await imported(browser, 'chrome.json');
    const named = f => f[0] ? `${f[1]} (${f[0]})` : f[1] || '(unnamed)';
    same(stacksOf(file, f => f.name, microseconds), expected('chrome', named, isCode));
    trace(JSON.parse(read('chrome.json')));
  },
  async cpuprofile(browser) {
    const file = await imported(browser, 'cpuprofile.cpuprofile');
    // speedscope gives functions without a name one, and shows no idle time.
    const name = f => f.name.startsWith('(anonymous') ? '' : f.name;
    const wanted = expected('cpuprofile', f => [f[1], f[0], f[4]]);
    for (const [name, count] of OWN.slice(1)) add(wanted, [[name, '', 0]], count);
    same(stacksOf(file, f => [name(f), f.file, f.line], microseconds), wanted);
    devtools(JSON.parse(read('cpuprofile.cpuprofile')));
  },
  pprof() {
    const { Profile } = require('pprof/proto/profile.js').perftools.profiles;
    const profile = Profile.toObject(Profile.decode(zlib.gunzipSync(read('pprof.pb.gz'))), { longs: Number });
    const text = profile.stringTable, byId = list => new Map(list.map(item => [item.id, item]));
    assert.equal(text[0], '');
    assert.deepEqual(profile.sampleType.map(t => [text[t.type], text[t.unit]]), [['samples', 'count'], ['wall', 'nanoseconds']]);
    assert.deepEqual([profile.period, profile.timeNanos], [1e6, 1764036000123456789]);
    const locations = byId(profile.location), functions = byId(profile.function), found = new Map();
    for (const { locationId, value: [count, time], label = [] } of profile.sample) {
      const frames = locationId.map(id => locations.get(id).line[0]).map(({ functionId, line = 0 }) => {
        const { name, filename } = functions.get(functionId);
        return [text[filename ?? 0], text[name ?? 0], line];
      });
      assert.equal(time, count * 1e6);
      add(found, [...label.map(l => [text[l.key], text[l.str]]), ...frames.reverse()], count);
    }
    const titles = ['process', 'thread'];
    const wanted = new Map();
    for (const { count, frames } of JSON.parse(read('pprof.expected'))) {
      add(wanted, frames.map((f, i) => i < 2 ? [titles[i], f[2]] : [f[2], f[3], f[4]]), count);
    }
    for (const [name, count] of OWN) add(wanted, [['', name, 0]], count);
    same(found, wanted);
  },
  flamechart() {
    const lines = read('flamechart.flamechart').toString().split('\n'), found = new Map();
    assert.equal(lines.pop(), '');
    for (let i = 0; i < lines.length; i += 2) {
      assert.match(lines[i], /^\d+$/);
      assert(lines[i + 1].endsWith(';'));
      add(found, lines[i + 1].slice(0, -1).split(';'), 1);
    }
    same(found, expected('flamechart', f => f[5]));
  },
  svg() {
    const [, table] = read('svg.svg').toString().match(/<script type="application\/json" id="d">(.*?)<\/script>/s);
    const { names, frames, boxes, samples } = JSON.parse(table), found = new Map(), path = [];
    // A box has what those on it do not have.
    const close = depth => {
      for (; path.length >= depth; path.pop()) {
        const { left } = path.at(-1);
        if (left) add(found, path.map(box => box.frame), left);
      }
    };
    let all = 0;
    for (let i = 0, depth = 0, count = samples; i < boxes.length;) {
      const code = boxes[i++], [file, name, line] = frames.slice(3 * (code >> 1));
      if (code % 2) depth++; else [depth, count] = [boxes[i++], boxes[i++]];
      close(depth);
      if (path.length) path.at(-1).left -= count; else all += count;
      path.push({ left: count, frame: [names[file], names[name], line] });
    }
    close(1);
    assert.equal(all, samples);
    const wanted = expected('svg', f => [f[0], f[1], f[4]]);
    for (const [name, count] of OWN) add(wanted, [['', name, 0]], count);
    same(found, wanted);
  },
};

/** Trace events as the format's document wants them: in order, each end that of the last begin of its thread, with names. */
function trace({ traceEvents }) {
  const open = new Map();
  let last = 0;
  for (const event of traceEvents) {
    assert(Number.isInteger(event.pid) && 'BEM'.includes(event.ph), JSON.stringify(event));
    if (event.ph == 'M') {
      assert(['process_name', 'thread_name'].includes(event.name) && typeof event.args.name == 'string');
      continue;
    }
    assert(Number.isInteger(event.tid) && Number.isInteger(event.ts) && event.ts >= last, JSON.stringify(event));
    last = event.ts;
    const stack = open.get(event.tid) ?? open.set(event.tid, []).get(event.tid);
    if (event.ph == 'B') stack.push(event.name); else assert.equal(stack.pop(), event.name);
  }
  assert([...open.values()].every(stack => stack.length == 0), 'all that began ends');
  const named = traceEvents.filter(e => e.name == 'thread_name').map(e => e.tid);
  assert.deepEqual(new Set(named), new Set(open.keys()), 'each thread has a name');
}

/** What DevTools reads of a CPU profile: the tree through `children`, times through the deltas. */
function devtools({ nodes, samples, timeDeltas, startTime, endTime }) {
  const children = nodes.flatMap(node => node.children);
  assert.equal(nodes[0].callFrame.functionName, '(root)');
  assert.deepEqual(children.toSorted((a, b) => a - b), nodes.slice(1).map(node => node.id), 'each has one parent');
  assert.equal(samples.length, timeDeltas.length);
  assert.equal(timeDeltas.reduce((a, b) => a + b), endTime - startTime);
  const hits = new Map(nodes.map(node => [node.id, node.hitCount]));
  samples.slice(0, -1).forEach((id, i) => assert.equal(timeDeltas[i + 1], 1000 * hits.get(id)));
}

const browser = await start('chrome');
const counts = { passed: 0, failed: 0, skipped: 0 };
for (const [name, check] of Object.entries(READERS)) {
  if (check.length && !browser) {
    counts.skipped++;
    console.log(`skipped ${name}: no Chromium`);
    continue;
  }
  try {
    await check(browser);
    counts.passed++;
  } catch (error) {
    counts.failed++;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}
await browser?.close();
console.log(`formats: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed ? 1 : 0;

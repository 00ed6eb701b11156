// What a flame graph does in a browser. svg.rs writes the rest: boxes for where no script runs, and the data. Takes those
// boxes away and draws anew, at the width of the window, whenever something changes: one path for all boxes of a colour,
// since an element each is ten times slower; which box the mouse is on follows from where it is.
//
// Names come from the program that was profiled: they get into the page as text and as values of attributes only.
// The build drops comments (whole lines only), empty lines and indentation; there may be no "]]>" in here.
{
  const D = document, S = D.currentScript.parentNode, R = D.documentElement,
    [H, I, G, J] = ['h', 'i', 'b', 'd'].map(i => S.querySelector('#' + i)),
    data = JSON.parse(J.textContent),
    set = (e, v) => { for (const k in v) e.setAttribute(k, v[k]); return e },
    add = (to, tag, v) => to.appendChild(set(D.createElementNS(S.namespaceURI, tag), v)),

    // Names as they can be shown: what is invisible or turns the line round becomes an escape.
    names = data.names.map(s => s.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, c => {
      c = c.codePointAt().toString(16);
      return '\\' + (c[2] ? 'u' + c.padStart(4, 0) : 'x' + c.padStart(2, 0))
    })),

    // Frames: f: file, n: name, l: line, c: class. The colour follows from the place of the file, the shade from the bytes
    // of the name, as in svg.rs. A process or a thread has its title for a file.
    frames = [],
    // Boxes, parents first: d: depth, p: parent, t: first sample, u: first sample of the next child, s: samples,
    // o: frame; m: found by the search, a: it or one that it stands on is. As drawn, in pixels: x, y, w.
    top = { d: 0, t: 0, u: 0, s: data.samples, o: { f: '', n: 'all', c: 'cr' } }, boxes = [top], path = [top];
  for (let i = 0, v = data.frames; v[i] >= 0; i += 3) {
    const f = names[v[i]], n = names[v[i + 1]], l = v[i + 2];
    frames.push(l < 0 ? { f: '', n: f, c: 'cr' }
      : { f, n, l, c: f ? 'c' + ((/-packages\//.test(f) ? 4 : /^<frozen |lib(64)?\/python/.test(f) ? 8 : 0)
        + new TextEncoder().encode(data.names[v[i + 1]]).reduce((a, b) => a + b, 0) % 4) : 'cs' })
  }
  for (let i = 0, v = data.boxes, d = 0; v[i] >= 0; ) {
    const k = v[i++];
    d = k % 2 ? d + 1 : v[i++];
    const p = path[d - 1], t = p.u, s = k % 2 ? p.s : v[i++];
    p.u += s;
    boxes.push(path[d] = { d, p, t, u: t, s, o: frames[k >> 1] })
  }

  // The bar is HTML, since SVG has no text field. It stays when the window is scrolled.
  const T = add(S, 'g'), K = add(S, 'rect', { id: 'k', tabindex: 0, role: 'button', height: 15 }), tip = add(K, 'title'),
    F = add(S, 'foreignObject');
  F.innerHTML = '<div xmlns="http://www.w3.org/1999/xhtml"><b></b><input placeholder="Search: regular expression"/>'
    + '<output></output><button>Reset</button><button></button><p></p><p role="status"></p>'
    + '<a><a class="c1">■</a> program <a class="c5">■</a> packages <a class="c9">■</a> standard library</a></div>';
  const [bar, title, field, found, clear, turn, about, told] = F.querySelectorAll('*');
  title.textContent = H.textContent;
  about.textContent = about.title = I.textContent;
  H.remove();
  I.remove();

  // z: the zoomed box; cur: the one that is pointed at, by mouse or keys; down: the root is at the top; wide: the width
  // of the window; bh: the height of the bar; seen: how far the window was scrolled when labels were written.
  let z = top, cur, down = 1, wide, bh, seen;
  const ruler = add(G, 'text'), letter = (ruler.textContent = 'm'.repeat(99), ruler.getComputedTextLength() / 99),
    share = (a, b) => (100 * a / (b || 1)).toFixed(2) + ' %',
    place = b => b.o.f && b.o.f + (b.o.l > 0 ? ':' + b.o.l : ''),

    go = b => {
      const t = [b.o.n, share(b.s, top.s) + ' of all' + (z == top || b.s > z.s ? '' : ', ' + share(b.s, z.s) + ' of ' + z.o.n)
        + `, ${b.s.toLocaleString('en')} samples` + (data.period ? `, ${+(b.s * data.period / 1e9).toPrecision(3)} s` : ''),
        place(b)];
      cur = b;
      told.textContent = t.join(' \u2003 ');
      tip.textContent = t.join('\n');
      set(K, { x: b.x, y: b.y, width: b.w, 'aria-label': t })
    },

    draw = () => {
      wide = R.clientWidth;
      set(F, { width: wide, height: 999 });
      const scale = (wide - 20) / (z.s || 1), paths = {};
      let sum = 0;
      for (const b of boxes) {
        const t = Math.max(b.t, z.t), s = Math.min(b.t + b.s, z.t + z.s) - t;
        b.x = 10 + (t - z.t) * scale;
        b.w = s * scale;
        if (s > 0 && b.m && !b.p?.a) sum += s
      }
      if (field.value && field.checkValidity()) found.textContent = 'matched ' + share(sum, z.s);
      bh = bar.offsetHeight;
      const h = bh + 16 * path.length + 10;
      set(F, { height: bh });
      set(S, { width: wide, height: h, viewBox: `0 0 ${wide} ${h}` });
      for (const b of boxes) {
        const k = b.o.c + (b.m ? ' m' : z.d > b.d ? ' o' : ''), x = b.x.toFixed(2);
        b.y = bh + 16 * (down ? b.d : path.length - 1 - b.d);
        if (b.w >= .3) paths[k] = (paths[k] || '') + `M${x} ${b.y}h${(b.w > 2 ? b.w - .5 : b.w).toFixed(2)}v15H${x}`
      }
      G.textContent = '';
      for (const k in paths) add(G, 'path', { class: k, d: paths[k] });
      label();
      go(z)
    },

    // Writes into the boxes that are in sight, or no further than this from it.
    label = (far = 400) => {
      const all = D.createDocumentFragment();
      seen = scrollY;
      for (const b of boxes) {
        const { f, n } = b.o, { x, y, w } = b, fit = (w - 6) / letter | 0;
        if (3 > fit || seen - far > y || y > seen + innerHeight + far) continue;
        const long = f ? `${n} (${place(b)})` : n, leaf = f ? n.replace(/.*\./, '') : n;
        // The svg cuts off letters that are wider than others.
        add(add(all, 'svg', { x, y, width: w, height: 15 }), 'text', { x: 3, y: 11 }).textContent
          = [long, long.replace(/\(.*\//, '('), n, leaf].find(s => fit >= s.length) || leaf.slice(0, fit - 1) + '…'
      }
      T.textContent = '';
      T.append(all)
    },

    zoom = b => {
      z = b;
      draw()
    },

    // A search without capital letters finds them, too.
    search = () => {
      const v = field.value, check = s => { field.setCustomValidity(s); found.textContent = s };
      let r;
      check('');
      try { r = v && RegExp(v, /[A-Z]/.test(v) ? '' : 'i') } catch (e) { check(e.message) }
      for (const b of boxes) {
        const { f, n, l } = b.o;
        b.m = r && [n, f, f + ':' + n + ':' + l].some(s => r.test(s));
        b.a = b.m || b.p?.a
      }
      G.classList.toggle('q', !!r);
      draw()
    },

    reset = () => {
      field.value = '';
      z = top;
      search()
    },

    // The box below the mouse.
    at = e => {
      const r = S.getBoundingClientRect(), x = e.clientX - r.x, y = e.clientY - r.y;
      return F.contains(e.target) ? 0 : boxes.find(b => b.w >= .3 && x >= b.x && b.x + b.w > x && y >= b.y && b.y + 16 > y)
    };

  field.oninput = search;
  clear.onclick = reset;
  (turn.onclick = () => {
    down = !down;
    turn.textContent = down ? 'Flame' : 'Icicle';
    draw();
    scrollTo(0, down ? 0 : 1e7)
  })();
  S.onmousemove = e => {
    // A window that scrolls below a mouse that rests tells of it, too.
    const b = (e.movementX || e.movementY) && at(e);
    b && b != cur && go(b)
  };
  S.onclick = e => {
    const b = at(e);
    b && zoom(b)
  };
  onresize = () => wide != R.clientWidth && draw();
  onscroll = () => {
    set(F, { y: scrollY });
    Math.abs(scrollY - seen) > 300 && label()
  };
  onbeforeprint = () => label(1e7);
  onkeydown = e => {
    const k = e.key, side = { ArrowLeft: -1, ArrowRight: 1 }[k];
    let to, i = boxes.indexOf(cur);
    if (k == 'Escape') reset();
    else if (k == '/' && e.target != field || k == 'f' && (e.ctrlKey || e.metaKey)) field.focus();
    else if (e.target != K) return;
    else if (k == 'Enter' || k == ' ') zoom(cur);
    else if (side) do to = boxes[i += side]; while (to && !(to.d == cur.d && to.w >= .3));
    else if (k == (down ? 'ArrowUp' : 'ArrowDown')) to = cur.p;
    // To the heaviest of those that stand on it.
    else if (k == (down ? 'ArrowDown' : 'ArrowUp')) boxes.map(c => { if (c.p == cur && c.w > (to?.w || .3)) to = c });
    else return;
    e.preventDefault();
    if (to) {
      go(to);
      K.scrollIntoView({ block: 'nearest' })
    }
  }
}

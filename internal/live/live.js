// The script of a tab, and of the worker that all tabs of a browser share.
(() => {
  'use strict';
  const base = '/_tqserver/';

  // follow listens to the server's one stream and keeps what it told.
  function follow(tell) {
    const pages = new Map();
    let stream, again, known = false;
    const listen = () => {
      stream = new EventSource(base + 'events');
      stream.onmessage = e => {
        const news = JSON.parse(e.data);
        if (news.all) pages.clear();
        for (const p of news.pages) {
          p.began = Date.now() - (p.for || 0);
          p.gone ? pages.delete(p.page) : pages.set(p.page, p);
        }
        known = true;
        tell(news);
      };
      stream.onerror = () => { // what can be mended by itself is
        if (stream.readyState === EventSource.CLOSED) again = setTimeout(listen, 3000);
      };
    };
    listen();
    return {
      all: () => known ? { all: true, pages: [...pages.values()] } : null,
      stop: () => { clearTimeout(again); stream.close(); },
    };
  }

  if (typeof document === 'undefined') { // the worker
    const ports = new Set();
    let source;
    self.onconnect = e => {
      const port = e.ports[0];
      port.onmessage = m => { if (m.data === 'bye') ports.delete(port); };
      ports.add(port);
      source ??= follow(news => ports.forEach(p => p.postMessage(news)));
      const all = source.all();
      if (all) port.postMessage(all);
    };
    return;
  }

  const me = document.currentScript;
  const { page = '', way, method } = me.dataset;
  let face = document.documentElement.dataset.tqFace || me.dataset.face || '';
  const name = 'tqserver ' + new URL(me.src).pathname;
  const pages = new Map();
  let bye = () => {};

  function hear(news) {
    if (news.all) pages.clear();
    for (const p of news.pages) {
      p.began ??= Date.now() - (p.for || 0);
      p.gone ? pages.delete(p.page) : pages.set(p.page, p);
    }
    act();
  }

  function connect() {
    if (way !== 'shared' || !window.SharedWorker) return lead();
    const worker = new SharedWorker(me.src, { name });
    worker.onerror = () => { bye(); lead(); };
    worker.port.onmessage = e => hear(e.data);
    bye = () => { worker.port.postMessage('bye'); worker.port.close(); };
  }

  // lead has one tab listen and tell the others. Without locks, which only
  // secure origins have, each listens while it is looked at.
  function lead() {
    if (!navigator.locks) {
      let source;
      const look = () => {
        if (document.hidden) { source?.stop(); source = null; } else source ??= follow(hear);
      };
      document.addEventListener('visibilitychange', look);
      look();
      bye = () => { document.removeEventListener('visibilitychange', look); source?.stop(); };
      return;
    }
    const channel = new BroadcastChannel(name);
    const over = new AbortController();
    let source, release = () => {};
    channel.onmessage = e => {
      if (!e.data.ask) return hear(e.data);
      const all = source?.all();
      if (all) channel.postMessage(all);
    };
    channel.postMessage({ ask: true });
    navigator.locks.request(name, { signal: over.signal }, () => new Promise(done => {
      release = done;
      source = follow(news => { hear(news); channel.postMessage(news); });
    })).catch(() => {});
    bye = () => { over.abort(); release(); source?.stop(); channel.close(); };
  }

  addEventListener('pagehide', () => bye());
  addEventListener('pageshow', e => { if (e.persisted) connect(); });

  // mine finds the page that this tab shows, or would show if it asked again.
  function mine() {
    if (page) return pages.get(page);
    let best;
    for (const p of pages.values()) {
      const below = p.page === '/' || location.pathname === p.page || location.pathname.startsWith(p.page + '/');
      if (below && (!best || p.page.length > best.page.length)) best = p;
    }
    return best;
  }

  // kind is s for a page that serves, e for an error, w for one under way, x for
  // one that is stopped.
  const kind = face => (face.split('.')[1] || ' ')[0];
  const build = face => face.split('.', 2).join('.');

  function act() {
    const p = mine();
    if (!p) return;
    if (!page) return reload(p);
    const now = kind(p.face), shows = kind(face);
    if (p.face !== face) {
      if (now === 's') {
        if (p.was === face && p.styles?.length && restyle(p.styles)) face = p.face;
        else return reload(p);
      } else if (now === 'e' && shows !== 's' || now === 'x' && shows === 'w') {
        return reload(p);
      }
    }
    if (shows === 's') notice(p.trouble);
    if (shows !== 's') progress();
  }

  let leaving = false;
  function reload(p) {
    if (leaving) return;
    if (method && method !== 'GET') {
      return notice({ id: p.face, title: 'A newer version is ready', message: 'This is the answer to a form: reload it yourself to see the newer one.' });
    }
    if (build(p.face) === build(face) && restless()) {
      return notice({ id: 'restless', title: 'Not reloaded any more', message: 'Files of this page change whenever it is asked for.' });
    }
    leaving = true;
    keep('tqserver-scroll', { url: location.href, x: scrollX, y: scrollY });
    location.reload();
  }

  // restless reports whether this tab was reloaded ten times in ten seconds
  // though nothing was built.
  function restless() {
    const since = Date.now() - 10000;
    const times = (recall('tqserver-reloads') || []).filter(t => t > since);
    keep('tqserver-reloads', [...times, Date.now()]);
    return times.length >= 10;
  }

  function keep(key, value) {
    try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { /* it is switched off */ }
  }
  function recall(key) {
    try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; }
  }

  // Browsers put the scroll position back themselves, unless the page keeps them
  // from it.
  const scrolled = recall('tqserver-scroll');
  keep('tqserver-scroll', null);
  if (scrolled?.url === location.href) {
    const back = () => { if (scrollX !== scrolled.x || scrollY !== scrolled.y) scrollTo({ left: scrolled.x, top: scrolled.y, behavior: 'instant' }); };
    back();
    if (document.readyState !== 'complete') addEventListener('load', back, { once: true });
  }

  // restyle asks for changed style sheets again: those of the names, or all,
  // since one may import another.
  function restyle(names) {
    const links = [...document.querySelectorAll('link[rel~="stylesheet"][href]')].filter(l => new URL(l.href).origin === location.origin);
    const named = links.filter(l => names.includes(decodeURIComponent(new URL(l.href).pathname.split('/').pop())));
    for (const link of named.length ? named : links) {
      const copy = link.cloneNode(), url = new URL(link.href);
      url.searchParams.set('tq', Date.now().toString(36));
      copy.href = url;
      copy.nonce = link.nonce;
      copy.removeAttribute('integrity');
      copy.onload = copy.onerror = () => link.remove();
      link.after(copy);
    }
    return links.length > 0;
  }

  // notice shows what is wrong in the corner, or takes it away.
  let corner, dismissed;
  function notice(what) {
    if (!what || what.id === dismissed || window.top !== window) {
      corner?.remove();
      corner = null;
      return;
    }
    if (corner?.dataset.id === what.id + (what.still || '')) return;
    corner?.remove();
    corner = document.createElement('tqserver-notice');
    corner.dataset.id = what.id + (what.still || '');
    const root = corner.attachShadow({ mode: 'open' });
    const look = new CSSStyleSheet();
    look.replaceSync(style);
    root.adoptedStyleSheets = [look];
    const add = (tag, text, to) => {
      const e = document.createElement(tag);
      e.textContent = text;
      to.append(e);
      return e;
    };
    const box = add('div', '', root);
    box.setAttribute('role', 'status');
    const top = add('header', '', box);
    add('b', [page, what.title].filter(Boolean).join(' '), top);
    const close = add('button', '×', top);
    close.setAttribute('aria-label', 'Dismiss');
    close.onclick = () => { dismissed = what.id; notice(); };
    if (what.file) {
      const at = add('button', [what.file, what.line, what.column].filter(Boolean).join(':'), box);
      at.className = 'file';
      at.onclick = () => open(what.file, what.line, what.column).then(said => { if (said) note.textContent = said; });
    }
    add('p', what.message, box);
    const note = add('small', what.still || '', box);
    document.documentElement.append(corner);
  }

  const style = `
    :host { all: initial; position: fixed; z-index: 2147483647; right: 1rem; bottom: 1rem; left: 1rem; pointer-events: none; display: block }
    div { color-scheme: light dark; pointer-events: auto; margin-left: auto; max-width: 30rem; width: fit-content; min-width: min(100%, 18rem); box-sizing: border-box;
      padding: .8rem 1rem; border-radius: .75rem; border: 1px solid light-dark(#e5b5ac, #6b3328); border-left: .35rem solid light-dark(#b3180a, #ff8a75);
      background: light-dark(#fff, #1d1b19); color: light-dark(#1b1a18, #f3f0ea); box-shadow: 0 .5rem 2rem #0004; font: 14px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
    header { display: flex; gap: 1rem; justify-content: space-between; align-items: start }
    button { all: unset; cursor: pointer }
    button:focus-visible { outline: 3px solid light-dark(#b3400a, #ff9a5c); border-radius: .2rem }
    header button { font-size: 20px; line-height: 1; padding: 0 .2rem; color: light-dark(#625d55, #aaa398) }
    .file { font: 600 13px/1.6 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; color: light-dark(#b3400a, #ff9a5c); text-decoration: underline; text-underline-offset: .2em }
    p { margin: .1rem 0; font: 13px/1.6 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; max-height: 8rem; overflow: auto }
    small { color: light-dark(#625d55, #aaa398); font-size: 12.5px }`;

  // progress tells how far the builds are.
  let ticking;
  function progress() {
    const bar = document.querySelector('[data-tq-bar]'), now = document.querySelector('[data-tq-now]'), count = document.querySelector('[data-tq-count]');
    if (!bar) return;
    const all = [...pages.values()];
    const busy = all.filter(p => p.phase === 'building' || p.phase === 'starting');
    bar.firstElementChild.style.width = 100 * (all.length - busy.length) / all.length + '%';
    bar.setAttribute('aria-valuenow', all.length - busy.length);
    bar.setAttribute('aria-valuemax', all.length);
    count.textContent = `${all.length - busy.length} of ${all.length} pages are ready`;
    now.replaceChildren(...busy.slice(0, 8).map(p => {
      const row = document.createElement('li');
      row.textContent = `${p.phase === 'building' ? 'compiling' : 'starting'} ${p.dir}` + (p.phase === 'building' ? `  ${((Date.now() - p.began) / 1000).toFixed(1)} s` : '');
      return row;
    }));
    ticking ??= setInterval(progress, 250);
  }

  // open has a file opened in the editor, and returns why it is not.
  async function open(file, line = 0, column = 0) {
    const answer = await fetch(base + 'open', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ file, line, column }) });
    return answer.ok ? '' : answer.text();
  }

  document.addEventListener('click', e => {
    const at = e.target.closest?.('[data-tq-file]');
    if (at) open(at.dataset.tqFile, +at.dataset.tqLine || 0, +at.dataset.tqColumn || 0).then(said => { if (said) alert(said); });
  });

  connect();
})();

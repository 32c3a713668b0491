// The script of a tab, and of the worker that all tabs of a browser share.
(() => {
  'use strict';
  const base = location.origin + '/_tqserver/'; // whatever <base> a document has

  // follow reads the server's stream and keeps the newest report of each page.
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
      stream.onerror = () => { // the browser reconnects by itself if it can
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

  const me = document.currentScript, path = me.getAttribute('src');
  const { page = '', way, method } = me.dataset;
  const name = 'tqserver ' + path;
  const pages = new Map();
  let face = document.documentElement.dataset.tqFace || me.dataset.face || '';
  let bye = () => {};

  function hear(news) {
    if (pages.size) follows();
    if (news.all) pages.clear();
    for (const p of news.pages) {
      p.began ??= Date.now() - (p.for || 0);
      p.gone ? pages.delete(p.page) : pages.set(p.page, p);
    }
    act();
  }

  function connect() {
    if (way !== 'shared' || !window.SharedWorker) return lead();
    const worker = new SharedWorker(location.origin + path, { name });
    worker.onerror = () => { bye(); lead(); };
    worker.port.onmessage = e => hear(e.data);
    bye = () => { worker.port.postMessage('bye'); worker.port.close(); };
  }

  // lead lets one tab read the stream and pass it on to the others. Without locks,
  // which only secure origins have, each tab reads it while it is visible.
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

  document.addEventListener('securitypolicyviolation', e => { // of a policy inside the document, which the server does not see
    if (e.effectiveDirective === 'connect-src' && e.blockedURI.startsWith(base)) bye();
  });
  addEventListener('pagehide', () => bye()); // or the browser could not cache the page for going back
  addEventListener('pageshow', e => { if (e.persisted) connect(); });

  // at is the page that this tab shows: the one that it was loaded from, until a script
  // changes the address. The content for a new address was requested just now, so its
  // face is the current one; but going back shows what was there before.
  const home = location.pathname, faces = new Map();
  let at = page;
  function follows(back) {
    const now = location.pathname === home ? page : atAddress();
    if (now === at) return;
    faces.set(at, face);
    face = back && faces.get(now) || pages.get(now)?.face || '';
    at = now;
  }
  addEventListener('popstate', () => { if (pages.size) { follows(true); act(); } });

  // atAddress returns the page that serves the tab's address.
  function atAddress() {
    let best = '';
    for (const name of pages.keys()) {
      const path = encodeURI(name), below = path === '/' || location.pathname === path || location.pathname.startsWith(path + '/');
      if (below && name.length > best.length) best = name;
    }
    return best;
  }

  // kind is s for a page that serves, e for an error, w for one under way, x for
  // one that is stopped.
  const kind = face => (face.split('.')[1] || ' ')[0];
  const build = face => face.split('.', 2).join('.');

  let current; // since when this document has been the newest
  function act() {
    follows();
    const p = pages.get(at || atAddress());
    if (!p) return;
    if (!at) return reload(p);
    const now = kind(p.face), shows = kind(face);
    if (p.face === face) {
      if (!current) reached();
      current ||= performance.now();
    } else {
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
  document.addEventListener('DOMContentLoaded', act);

  let leaving = false, stopped;
  function reload(p) {
    if (leaving) return;
    if (method && at === page) {
      return notice({ id: p.face, title: 'A newer version is ready', message: 'This page is the response to a form: reload it yourself to see the newer version.' });
    }
    const files = (p.files || []).join(', ');
    if (stopped && (stopped.face === p.face || stopped.files === files && performance.now() - stopped.since < moment)) stopped.face = p.face;
    else stopped = restless(p.face, files);
    if (stopped) return notice(p.trouble || stopped);
    leaving = true;
    keep('tqserver-scroll', { url: location.href, x: scrollX, y: scrollY });
    location.reload();
  }

  // restless says why reloading does not help, if it does not: the document stayed as it
  // was, or its own request changes files of the page, which shows a moment after it was
  // loaded. A person takes longer.
  const moment = 1000, reloads = 'tqserver-reloads ' + home;
  function restless(to, files) {
    const last = recall(reloads) || {}, quick = !(performance.now() - current > moment);
    const vain = last.to === to ? last.vain + 1 : 0;
    const own = quick && last.files === files && build(to) === build(face) ? last.own + 1 : 0;
    keep(reloads, { to, files, vain, own });
    const why = { id: 'restless', title: 'is not reloaded until the next save', face: to, since: performance.now() };
    if (vain === 3) {
      why.message = `Reloading ${home} brings the same older document: a cache, a service worker or the page itself returns a copy. Cache-Control: no-transform turns reloading off for it.`;
    } else if (own === 5) {
      why.message = `${files || 'A file of this page'} changes whenever ${home} is requested. Write it to a folder that is not watched, or begin its name with a dot.`;
      why.files = files;
    } else return null;
    keep(reloads, null);
    return why;
  }

  // reached records that reloading helped.
  function reached() {
    const last = recall(reloads);
    if (last) keep(reloads, { ...last, to: '' });
  }

  function keep(key, value) {
    try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { /* storage is switched off */ }
  }
  function recall(key) {
    try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; }
  }

  // Browsers restore the scroll position, unless the page prevents it.
  const scrolled = recall('tqserver-scroll');
  keep('tqserver-scroll', null);
  if (scrolled?.url === location.href) {
    const back = () => { if (scrollX !== scrolled.x || scrollY !== scrolled.y) scrollTo({ left: scrolled.x, top: scrolled.y, behavior: 'instant' }); };
    back();
    document.addEventListener('DOMContentLoaded', back);
    if (document.readyState !== 'complete') addEventListener('load', back, { once: true });
  }

  // restyle loads changed style sheets again: those with the names, or else all, because
  // one may import another.
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

  // notice shows what is wrong in the corner, or removes that.
  let corner, dismissed;
  function notice(what) {
    if (!document.body) return; // it is called again when there is one
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
    add('b', [at, what.title].filter(Boolean).join(' '), top);
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

  // progress shows how far the builds are.
  let ticking;
  function progress() {
    const bar = document.querySelector('[data-tq-bar]'), now = document.querySelector('[data-tq-now]'), count = document.querySelector('[data-tq-count]');
    if (!bar) return; // the document is not there yet, or has none
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

  // open opens a file in the editor, or returns why it cannot.
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

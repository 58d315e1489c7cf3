// What happened: the live feed and who reads it on NATS, quarantine, and one callback with its bytes as text.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { ORDER } from "./states.js";
import { bytes, clock, count, decoded, name } from "./text.js";
import { link, vmLink } from "./route.js";
import { at, choose, code, distinct, facts, fetched, matcher, move, notice, panel, search, text, time, toDeployment, toThing } from "./parts.js";
import { get, path, raw } from "./api.js";

const FEED_SHOWN = 150;
const RAW_SHOWN = 262_144;
const CONSUMERS_MS = 3_000;

export function feedView(app) {
  const { asked } = app.route;
  const source = app.paused ?? app.fleet.changes;
  const found = source.map(searchable).filter(matcher(asked, ["entity", "to_state", "source"])).slice(-FEED_SHOWN).reverse();
  return html`
    <div class="bar-of-filters" role="search">
      <h1>Feed <span class="count">${count(found.length)}</span></h1>
      ${search(asked, "Search the feed")}
      ${choose(asked, "entity", "Entity", ["vm", "deployment", "operation", "resource", "source"])}
      ${choose(asked, "to_state", "State", ORDER)}
      ${choose(asked, "source", "Source", distinct(source, "source"))}
      <button type="button" aria-pressed=${Boolean(app.paused)} @click=${app.pause}>${app.paused ? "Go on" : "Hold still"}</button>
    </div>
    <div class="scroll" tabindex="0" role="region" aria-label="Changes, latest first">
      ${consumersOf(app)}
      ${found.length === 0
        ? notice(app.fleet.changes.length ? "Nothing matches" : "Waiting for changes", "They show here the moment they are committed; the latest few hundred are kept.", nothing, "empty")
        : html`<table class="entries"><thead><tr><th>Time</th><th>What</th><th>Name</th><th>Change</th><th class="wide">Why</th></tr></thead>
            <tbody>${repeat(found, (one) => one.id, entry)}</tbody></table>`}
    </div>`;
}

/** Who reads the feed at JetStream, asked for when it is opened. */
function consumersOf(app) {
  const key = "consumers";
  const shown = app.opened.has(key);
  return html`<details class="bytes consumers" .open=${shown} @toggle=${(event) => app.open(key, event.target.open)}><summary>Consumers on NATS</summary>
    ${shown ? fetched(app.cache.get(key, () => get("consumers"), Math.floor(app.now / CONSUMERS_MS)), "the consumers", ({ items }) =>
      items.length
        ? html`<table class="entries"><thead><tr><th>Name</th><th class="number">Waits for it</th><th class="number">Not acknowledged</th><th class="number">Given again</th><th>Last acknowledged</th></tr></thead>
            <tbody>${items.map((one) => html`<tr><td><bdi>${name(one.name, 60)}</bdi>${one.reading ? nothing : html` <span class="flag">not reading</span>`}</td><td class="number">${count(one.pending)}</td>
              <td class="number">${count(one.unacknowledged)}</td><td class="number">${count(one.redelivered)}</td><td>${time(one.last_acknowledged_at, app.now)}</td></tr>`)}</tbody></table>`
        : html`<p class="calm">Nobody reads the stream now.</p>`) : nothing}
  </details>`;
}

const searchable = (change) => {
  change.search ??= [change.name, change.deployment, change.tenant, change.operation, change.reason, change.rule, change.ref].filter(Boolean).join(" ").toLowerCase();
  return change;
};

const entry = (one) => html`<tr><td><time datetime=${one.at}>${clock(one.at)}</time></td><td class="of dim">${one.entity}</td><td>${toThing(one)}</td>
  <td class="move">${move(one)}</td><td class="wide dim"><bdi>${name(one.reason, 120)}</bdi></td></tr>`;

export function quarantineView(app) {
  const entry = app.cache.get("quarantine", app.readQuarantine);
  const { asked } = app.route;
  return html`
    <div class="bar-of-filters" role="search"><h1>Quarantine <span class="count">${count(entry.value?.items.length)}</span></h1>
      ${choose(asked, "outcome", "Outcome", ["malformed", "unclassified"])}
      <p class="hint">Kept, answered, and not understood: nothing of it moved any state. Once understood, <code>esc-receiver replay</code> applies it.</p></div>
    <div class="scroll">${fetched(entry, "the quarantine", (page) => {
      const shown = page.items.filter((one) => !asked.outcome || one.outcome === asked.outcome);
      return shown.length
        ? html`<ul class="cards">${repeat(shown, (one) => one.receipt, (one) => quarantined(app, one))}</ul>`
        : notice("The quarantine is empty", "Every callback that was kept has been understood.", nothing, "empty");
    })}</div>`;
}

const quarantined = (app, one) => html`<li class="panel card">
  <div class="card-head"><span class="flag ${one.outcome === "malformed" ? "bad" : ""}">${one.outcome}</span>
    <strong class="grow"><bdi>${name(one.reason, 240)}</bdi></strong>${time(one.received_at, app.now)}</div>
  <p class="dim">${one.source} · ${one.channel} · ${bytes(one.body_bytes)} · from ${one.remote ?? "?"} · rule ${one.rule} · <a href=${link("callback", { receipt: one.receipt })}>the whole callback</a></p>
  ${bytesOf(app, one)}
</li>`;

/** The bytes, fetched when asked for, as text and never as anything else. */
export function bytesOf(app, callback, open = false) {
  const key = `raw ${callback.receipt}`;
  const shown = open || app.opened.has(key);
  const toggle = (event) => app.open(key, event.target.open);
  return html`<details class="bytes" .open=${shown} @toggle=${toggle}><summary>Bytes as received (${bytes(callback.body_bytes)}${callback.redacted ? ", secrets overwritten" : ""}${callback.outcome === "malformed" ? "; they could not be read, so they may hold secrets that were not overwritten" : ""})</summary>
    ${shown ? fetched(app.cache.get(key, () => raw(callback.receipt)), "the bytes", (body) => html`
      <pre tabindex="0" aria-label="Bytes as received"><bdi>${decoded(body.subarray(0, RAW_SHOWN))}</bdi></pre>
      ${body.length > RAW_SHOWN ? html`<p class="dim">The first ${bytes(RAW_SHOWN)} of ${bytes(body.length)}.</p>` : nothing}`) : nothing}
  </details>`;
}

export function callbackView(app) {
  const { receipt } = app.route.asked;
  const entry = app.cache.get(`callback ${receipt}`, () => get(path("callbacks", receipt ?? "")));
  return html`<div class="page">${fetched(entry, "the callback", (one) => html`
    <header class="title"><p class="kind">Callback</p><h1>${name(one.trigger ?? one.family)}</h1>
      <p class="lead"><span class="flag">${one.outcome}</span> <bdi>${name(one.reason, 300)}</bdi></p></header>
    <div class="columns">
      ${panel("What was received", facts([
        ["Receipt", code(one.receipt)], ["Received", at(one.received_at)], ["Source", one.source], ["Channel", one.channel],
        ["From", one.remote], ["Reference", text(one.ref)], ["Transaction", code(one.transaction_id)],
        ["Status", `${one.status_code ?? "–"} ${one.status_message ? name(one.status_message, 200) : ""}`],
        ["Deployment", toDeployment(one.source, one.deployment)],
        ["VM", one.vm_name ? html`<a href=${vmLink({ source: one.source, deployment: one.deployment, name: one.vm_name })}>${text(one.vm_name)}</a>` : "–"],
        ["Rule", one.rule], ["Notes", one.notes.length ? one.notes.join(", ") : "–"],
      ]))}
      ${panel("Header", html`<table class="entries"><tbody>${(one.headers ?? []).map(([key, value]) => html`<tr><th scope="row"><bdi>${name(key, 60)}</bdi></th><td><bdi>${name(value, 400)}</bdi></td></tr>`)}</tbody></table>`)}
    </div>
    ${panel("Body", bytesOf(app, one, true))}`)}</div>`;
}

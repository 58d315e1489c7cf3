// Callbacks: the quarantine, and one callback with its bytes as text.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { bytes, decoded, name } from "./text.js";
import { link, vmLink } from "./route.js";
import { at, choose, copied, distinct, facts, failed, fetched, inAll, loading, notice, panel, search, text, time, toDeployment } from "./parts.js";
import { get, path, raw } from "./api.js";
import { renewal } from "./server_list.js";

const RAW_SHOWN = 262_144;
const DEAD = ["malformed", "unclassified"];

export function quarantineView(app) {
  const { asked } = app.route;
  const filters = { q: asked.q, source: asked.source, outcome: asked.outcome ? [asked.outcome] : DEAD, order: "newest" };
  const found = app.lists.read("callbacks", filters, renewal(app.now));
  const { items, total, next, error, again, more } = found;
  return html`
    <div class="bar-of-filters" role="search"><h1>Quarantine <span class="count">${inAll(found)}</span></h1>
      ${search(asked, "Search the quarantine")}
      ${choose(asked, "outcome", "Outcome", DEAD)}
      ${choose(asked, "source", "Source", distinct([...app.fleet.allDeployments(), ...(items ?? [])], "source"))}
      ${app.exports.buttons("callbacks", filters)}
      <p class="hint">Kept, answered, and not understood: nothing of it moved any state. Once understood, <code>esc-receiver replay</code> applies it.</p></div>
    <div class="scroll">${items ? nothing : error ? failed(error, again) : loading("the quarantine")}
      ${items?.length ? html`<ul class="cards">${repeat(items, (one) => one.receipt, (one) => quarantined(app, one))}</ul>` : nothing}
      ${items && !items.length ? noneDead(asked, next) : nothing}
      ${more ? html`<p class="further"><button type="button" @click=${more}>${next && total === null ? "Look further back" : "Show more"}</button></p>` : nothing}</div>`;
}

function noneDead(asked, next) {
  if (next) return notice("Nothing so far", "Only the newest were looked through.", nothing, "empty");
  if (asked.q || asked.outcome || asked.source) return notice("Nothing matches", "All that is kept was looked through.", html`<a class="button" href=${link("quarantine")}>Clear filters</a>`, "empty");
  return notice("The quarantine is empty", "Every callback that was kept has been understood.", nothing, "empty");
}

const quarantined = (app, one) => html`<li class="panel card">
  <div class="card-head"><span class="flag ${one.outcome === "malformed" ? "bad" : ""}">${one.outcome}</span>
    <strong class="grow"><bdi>${name(one.reason, 240)}</bdi></strong>${time(one.received_at, app.now)}</div>
  <p class="dim">${one.source} · ${one.channel} · ${bytes(one.body_bytes)} · from ${one.remote ?? "?"} · rule ${one.rule} · <a href=${link("callback", { receipt: one.receipt })}>the whole callback</a></p>
  ${bytesOf(app, one)}
</li>`;

/** What the bytes are that can be looked at: as received, but for secrets. */
const bytesWords = ({ body_bytes: kept, redacted, outcome }) =>
  `Body, ${bytes(kept)}${redacted ? " as kept, with secrets overwritten" : ""}${outcome === "malformed" ? "; it could not be read, so it may hold secrets that were not overwritten" : ""}`;

/** The bytes, fetched when asked for, as text and never as anything else. */
export function bytesOf(app, callback, open = false) {
  const key = `raw ${callback.receipt}`;
  const shown = open || app.opened.has(key);
  const toggle = (event) => app.open(key, event.target.open);
  return html`<details class="bytes" .open=${shown} @toggle=${toggle}><summary>${bytesWords(callback)}</summary>
    ${shown ? fetched(app.cache.get(key, () => raw(callback.receipt)), "the bytes", (body) => html`
      <pre tabindex="0" aria-label="Body"><bdi>${decoded(body.subarray(0, RAW_SHOWN))}</bdi></pre>
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
        ["Receipt", copied(one.receipt, "the receipt")], ["Received", at(one.received_at)], ["Source", one.source], ["Channel", one.channel],
        ["From", one.remote], ["Reference", copied(one.ref, "the reference")], ["Transaction", copied(one.transaction_id, "the transaction id")],
        ["Status", [one.status_code, one.status_message && name(one.status_message, 200)].filter((part) => part !== null).join(": ") || "none given"],
        ["Deployment", toDeployment(app.fleet, one.source, one.deployment)],
        ["VM", one.vm_name ? html`<a href=${vmLink({ source: one.source, deployment: one.deployment, name: one.vm_name })}>${text(one.vm_name)}</a>` : "–"],
        ["Bytes received", one.received_bytes === null ? "not said by the sender" : bytes(one.received_bytes)],
        ["Rule", one.rule], ["Notes", one.notes.length ? one.notes.join(", ") : "–"],
      ]))}
      ${panel("Header", html`<table class="entries"><tbody>${(one.headers ?? []).map(([key, value]) => html`<tr><th scope="row"><bdi>${name(key, 60)}</bdi></th><td><bdi>${name(value, 400)}</bdi></td></tr>`)}</tbody></table>`)}
    </div>
    ${panel("Body", bytesOf(app, one, true))}`)}</div>`;
}

// One callback, and the bytes of callbacks as text.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { bytes, decoded, name } from "./text.js";
import { vmLink } from "./route.js";
import { at, copied, facts, fetched, panel, text, toDeployment } from "./parts.js";
import { address, get, path, raw } from "./api.js";

const RAW_SHOWN = 262_144;

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
        ["Acknowledged", one.acknowledged_at ? html`by ${name(one.acknowledged_by, 80)}, ${at(one.acknowledged_at)}: <bdi>${name(one.acknowledged_note, 1000)}</bdi>` : undefined],
        ["Rule", one.rule], ["Notes", one.notes.length ? one.notes.join(", ") : "–"],
      ]))}
      ${panel("Header", html`<table class="entries"><tbody>${(one.headers ?? []).map(([key, value]) => html`<tr><th scope="row"><bdi>${name(key, 60)}</bdi></th><td><bdi>${name(value, 400)}</bdi></td></tr>`)}</tbody></table>`)}
    </div>
    ${panel("Body", bytesOf(app, one, true), { more: html`<a class="count" href=${address(`${path("callbacks", one.receipt)}/raw`).href} download>download</a>` })}`)}</div>`;
}

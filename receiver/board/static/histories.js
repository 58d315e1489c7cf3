// Ledger entries and callbacks as the pages of a thing show them. It must not know which thing.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { name } from "./text.js";
import { link } from "./route.js";
import { at, move, toThing } from "./parts.js";
import { bytesOf } from "./view_happened.js";

export function ledger(history, app, named = false) {
  if (!history.items.length) return html`<p class="calm">No ledger entry is left.</p>`;
  return html`<div class="scroll-x" tabindex="0" role="region" aria-label="Ledger entries"><table class="entries"><thead><tr><th>No.</th><th>Time</th>${named ? html`<th>Of</th>` : nothing}<th>Change</th><th>Trigger</th><th class="wide">Why</th><th>Callback</th></tr></thead>
    <tbody>${history.items.map((one) => html`<tr><td class="number">${one.sequence}</td><td>${at(one.at)}</td>
      ${named ? html`<td class="of"><span class="dim">${one.entity}</span> ${toThing(app.fleet, one)}</td>` : nothing}
      <td class="move">${move(one)}</td><td class="trigger"><code>${name(one.trigger, 40)}</code></td><td class="wide"><bdi>${name(one.reason, 200)}</bdi> <small class="dim">${one.rule}</small></td>
      <td>${one.receipt ? html`<a href=${link("callback", { receipt: one.receipt })} aria-label="Callback ${one.receipt}">open</a>` : "timer"}</td></tr>`)}</tbody></table></div>`;
}

export function callbackList(app, callbacks) {
  if (!callbacks.items.length) return html`<p class="calm">None is left.</p>`;
  return html`<ul class="cards">${callbacks.items.map((one) => html`<li class="card">
    <div class="card-head"><span class="flag">${one.outcome}</span><strong class="grow"><bdi>${name(one.trigger ?? one.family)}</bdi> <small class="dim"><bdi>${name(one.reason, 160)}</bdi></small></strong>
      <a href=${link("callback", { receipt: one.receipt })}>${at(one.received_at)}</a></div>
    ${bytesOf(app, one)}</li>`)}</ul>`;
}

// The ESC instances: what each says of itself, when it was heard of last, what was refused of it, what it has in hand.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { get } from "./api.js";
import { badge } from "./states.js";
import { count, name, span } from "./text.js";
import { link } from "./route.js";
import { facts, fetched, notice, text, time } from "./parts.js";
import { webhooksSection } from "./view_webhooks.js";

const UNUSUAL = 3; // times what is usual, as the alert EscSilence

export const readSources = () => get("sources");

export function sourcesView(app) {
  const entry = app.cache.get("sources", readSources);
  return html`
    <div class="bar-of-filters"><h1>Sources <span class="count">${count(entry.value?.items.length)}</span></h1>
      <p class="hint">What each ESC says of itself. Last message and refusals are those of the last count.</p></div>
    <div class="scroll">${fetched(entry, "the sources", (page) =>
      page.items.length
        ? html`<ul class="cards">${repeat(page.items, (one) => one.source, (one) => card(app, one))}</ul>`
        : notice("There is no source", "Sources are configured by name.", nothing, "empty"))}${elsewhere(entry.value?.elsewhere ?? [])}
      ${webhooksSection(app)}</div>`;
}

/** Sources of other cells, each with a link to the board of its own. */
const elsewhere = (sources) => sources.length === 0 ? nothing : html`<section class="panel"><h2>In other cells</h2>
  <ul>${sources.map((one) => html`<li>${text(one.source, 64)} is in cell ${text(one.cell, 32)}${one.url
    ? html`: <a href=${`${one.url}/#/sources`} rel="noopener">${text(one.url, 80)}</a>` : nothing}</li>`)}</ul></section>`;

const card = (app, one) => html`<li class="panel card">
  <div class="card-head">${state(one)}<strong class="grow">${text(one.source, 64)}</strong>
    ${one.configured ? nothing : html`<span class="flag" title="a mistyped URL?">not configured</span>`}${one.since ? time(one.since, app.now) : nothing}</div>
  ${one.reason ? html`<p><bdi>${name(one.reason, 400)}</bdi></p>` : nothing}
  ${facts([
    ["Last message", one.last_message_at ? time(one.last_message_at, app.now) : "none yet"],
    ["Silence", silence(app, one)],
    ["Operations open", html`<a href=${link("operations", { source: one.source, state: "OPEN" })}>${count(one.open_operations)}</a>`],
    ["Overdue", html`<a href=${link("operations", { source: one.source, state: "OVERDUE" })}>${count(one.overdue_operations)}</a>`],
    ["Dead letters waiting", html`<a href=${link("quarantine", { source: one.source })}>${count(one.quarantined)}</a>`],
    ["Refused", html`${count(one.refused)}${one.refused_at ? html`, last ${time(one.refused_at, app.now)} (${name(one.refused_because, 40)})` : nothing}`],
    ...(one.asked_at ? asked(app, one) : []),
  ])}
</li>`;

// What is usual at this hour of the week, and since when nothing came; only where it was heard of at all.
function silence(app, one) {
  if (!one.last_message_at) return "not heard of yet";
  const silent = `silent for ${span(Math.max(0, (app.now - Date.parse(one.last_message_at)) / 1000))}`;
  if (!one.usual_silence_s) return `${silent}; what is usual at this hour is not learned yet`;
  const told = `usually a message within ${span(one.usual_silence_s)} at this hour; ${silent}`;
  return one.silence_ratio > UNUSUAL && one.state !== "OUT_OF_SERVICE" ? html`${told} <span class="flag bad">unusual</span>` : told;
}
const asked = (app, one) => [
  ["Asked", html`${time(one.asked_at, app.now)}: ${one.reachable ? "it answers" : html`<bdi>${name(one.trouble, 300)}</bdi>`}`],
  ["Last sweep", one.swept_at ? html`${time(one.swept_at, app.now)}, mended ${count(one.mended)}${one.missing ? html`, missing ${count(one.missing)}` : nothing}` : "none yet"],
  ...(one.health ? [["Health", html`<bdi>${name(one.health, 300)}</bdi>`]] : []),
];

const state = (one) => (one.state === "UNSEEN" ? html`<span class="flag">says nothing of itself</span>` : badge(one.state));

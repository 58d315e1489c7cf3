// The feed: the ledger as it grows, and who reads it on NATS.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { ORDER } from "./states.js";
import { clock, count, name } from "./text.js";
import { link } from "./route.js";
import { choose, distinct, failed, fetched, inAll, itsDeployment, loading, move, notice, search, time, toDeployment, toThing } from "./parts.js";
import { get } from "./api.js";

export const FEED_SHOWN = 150;
const CONSUMERS_MS = 3_000;
const FILTERS = ["q", "entity", "state", "source"];

export function feedView(app) {
  const { asked } = app.route;
  const filters = Object.fromEntries(FILTERS.filter((key) => asked[key]).map((key) => [key, asked[key]]));
  const found = app.paused ?? app.ledger.read(filters);
  const items = found.items ?? [];
  const shown = items.slice(0, app.feedShown);
  return html`
    <div class="bar-of-filters" role="search">
      <h1>Feed <span class="count">${inAll(found)}</span></h1>
      ${search(asked, "Search the ledger")}
      ${choose(asked, "entity", "Kind", ["vm", "deployment", "operation", "resource", "source"])}
      ${choose(asked, "state", "State", ORDER)}
      ${choose(asked, "source", "Source", distinct(app.fleet.allDeployments(), "source"))}
      <button type="button" aria-pressed=${Boolean(app.paused)} @click=${app.pause}>${app.paused ? "Go on" : "Hold still"}</button>
      ${app.exports.buttons("transitions", { ...filters, order: "newest" })}
    </div>
    <div class="scroll" tabindex="0" role="region" aria-label="Changes, latest first">
      ${consumersOf(app)}
      ${shown.length
        ? html`<table class="entries feed"><thead><tr><th>Time</th><th>Kind</th><th>Name</th><th>Deployment</th><th>Change</th><th class="wide">Why</th></tr></thead>
            <tbody>${repeat(shown, (one) => one.id, (one) => entry(app, one))}</tbody></table>`
        : none(found, Object.keys(filters).length > 0)}
      ${further(app, found, shown.length)}
    </div>`;
}

function none(found, isFiltered) {
  if (!found.items) return found.error ? failed(found.error, found.again) : loading("the ledger");
  if (found.next) return notice("Nothing so far", "Only the newest entries were looked through.", nothing, "empty");
  return notice(isFiltered ? "Nothing matches" : "Waiting for changes", isFiltered ? "The whole ledger was looked through." : "They show here the moment they are committed.",
    isFiltered ? html`<a class="button" href=${link("feed")}>Clear filters</a>` : nothing, "empty");
}

/** More of what is held, or further back in the ledger. */
function further(app, { items, next, more, error, again, reading }, shown) {
  if (!items) return nothing;
  if (error) return html`<p class="further">Older entries could not be read: ${error.message}. <button type="button" @click=${again}>Try again</button></p>`;
  if (shown < items.length) return html`<p class="further"><button type="button" @click=${app.showMore}>Show more</button></p>`;
  if (more) return html`<p class="further"><button type="button" ?disabled=${reading} @click=${() => (app.showMore(), more())}>${reading ? "Looking …" : "Look further back"}</button></p>`;
  return next ? html`<p class="further hint">Older entries are not shown here; loosen or change the filters.</p>` : nothing;
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

const entry = (app, one) => html`<tr><td class="when"><time datetime=${one.at}>${clock(one.at)}</time></td><td class="of dim">${one.entity}</td><td class="thing">${toThing(app.fleet, one)}</td>
  <td class="its">${itsDeployment(one) ? toDeployment(app.fleet, one.source, one.deployment) : nothing}</td><td class="move">${move(one)}</td><td class="wide dim"><bdi>${name(one.reason, 120)}</bdi></td></tr>`;

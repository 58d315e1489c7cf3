// The query API: asks, and turns every refusal into a Problem that says what to do. It must not know the views.

const API = new URL("api/v1/", document.baseURI);
const ROOT = new URL("./", document.baseURI);
const TIMEOUT_MS = 20_000;

/** An answer that is no success, or none at all (status 0). */
export class Problem extends Error {
  constructor(status, title, detail, retryAfter) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

export const address = (path, asked = {}) => {
  const url = new URL(path, API);
  for (const [key, given] of Object.entries(asked)) {
    for (const value of [given].flat()) {
      if (value !== null && value !== undefined && value !== "") url.searchParams.append(key, value);
    }
  }
  return url;
};

/** Parts of a path, each as one part whatever is in it. */
export const path = (...parts) => parts.map((part) => encodeURIComponent(part)).join("/");

async function problem(answer) {
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // Not ours: a proxy's page, say. The status is what is known.
  }
  return new Problem(
    answer.status,
    told.title ?? `The receiver answered ${answer.status}`,
    told.detail,
    Number(answer.headers.get("Retry-After")) || null,
  );
}

async function ask(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options,
    });
  } catch (error) {
    const slow = error.name === "TimeoutError";
    throw new Problem(0, slow ? "No answer in time" : "The receiver cannot be reached");
  }
  if (!answer.ok && !options.anyStatus) throw await problem(answer);
  return answer;
}

export const get = async (where, asked) => (await ask(address(where, asked))).json();
export const raw = async (receipt) => new Uint8Array(await (await ask(address(`${path("callbacks", receipt)}/raw`))).arrayBuffer());
export const ready = async () => (await ask(new URL("readyz", ROOT), { anyStatus: true })).json();

/** All pages of a list, handed on one by one, at most `most` items; says whether there were more. */
export async function pages(where, asked, most, take) {
  let cursor = null;
  let taken = 0;
  do {
    const page = await get(where, cursor ? { ...asked, cursor } : asked);
    take(page.items);
    taken += page.items.length;
    cursor = page.next;
  } while (cursor && taken < most);
  return Boolean(cursor);
}

/** Gives the token for a session; the cookie that comes back is the browser's business. */
export const login = (token) =>
  ask(address("session"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });

/** A question that changes something. */
export const post = async (where, body) =>
  (await ask(address(where), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();

export { problem };

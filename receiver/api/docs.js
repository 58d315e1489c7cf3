// "Try it" of /api/docs: asks one of the GET endpoints of this receiver and shows the answer as text. The token stays on the page.
"use strict";
const SHOWN_MAX = 200_000;

for (const form of document.querySelectorAll("form[data-path]")) form.addEventListener("submit", tryIt);

async function tryIt(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const shown = form.querySelector("output");
  const token = document.getElementById("token").value;
  const url = urlOf(form);
  shown.textContent = "asking …";
  try {
    const answer = await fetch(url, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
    const text = readable(await answer.text());
    const cut = text.length > SHOWN_MAX ? "\n… cut" : "";
    shown.textContent = `GET ${new URL(url, location).pathname}\n${answer.status} ${answer.statusText}\n\n${text.slice(0, SHOWN_MAX)}${cut}`;
  } catch (error) {
    shown.textContent = `no answer: ${error.message}`;
  }
}

function urlOf(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("input")) {
    const value = field.value.trim();
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(value));
    else for (const one of field.dataset.many ? value.split(",") : [value]) if (one) query.append(field.name, one.trim());
  }
  return query.size ? `${path}?${query}` : path;
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

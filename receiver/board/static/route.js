// Where the reader is: view and parameters, in the fragment of the address, so that every view can be shared.
// `#/vms?state=ERROR&q=fw` is the view `vms` with two parameters.

export function read(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path || "fleet", asked: Object.fromEntries(new URLSearchParams(query)) };
}

/** A link to a view. Parameters that are empty are left out. */
export function link(view, asked = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(asked)) {
    if (value !== null && value !== undefined && value !== "") query.set(key, value);
  }
  return `#/${view}${query.size ? `?${query}` : ""}`;
}

/** Change parameters of this view without a new entry in the history: for typing and choosing. */
export function change(asked) {
  const here = read();
  history.replaceState(null, "", link(here.view, { ...here.asked, ...asked }));
  dispatchEvent(new Event("hashchange"));
}

export const vmLink = (vm) => link("vm", { source: vm.source, deployment: vm.deployment, name: vm.name });
export const operationLink = (source, id) => link("operation", { source, id });
export const resourceLink = (one) => link("resource", { source: one.source, kind: one.kind, id: one.resource_id });
export const deploymentLink = (source, id) => link("deployment", { source, id });

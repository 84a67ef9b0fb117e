/** What the Docker Engine API has and this engine does not yet: answered by name, so that nobody looks for a spelling mistake. */
const unbuilt: readonly (readonly [methods: string, path: RegExp, what: string])[] = [
  ["POST", /^\/networks\/(create|[^/]+\/(connect|disconnect))$/, "Making and changing networks"],
  ["DELETE", /^\/networks\/[^/]+$/, "Removing networks"],
  ["GET", /^\/containers\/[^/]+\/attach\/ws$/, "Attaching over a WebSocket"],
  ["PUT", /^\/volumes\/[^/]+$/, "Changing a cluster volume"],
  ["GET POST DELETE", /^\/plugins(\/.*)?$/, "Plugins"],
  ["GET POST DELETE", /^\/(swarm|nodes|services|tasks|secrets|configs)(\/.*)?$/, "Swarm mode"],
];

/** A sentence about the route, or undefined when Docker has no such route either. `path` is without its version. */
export function describeUnbuilt(method: string, path: string): string | undefined {
  const known = unbuilt.find(([methods, pattern]) => methods.split(" ").includes(method) && pattern.test(path));
  return known && `${known[2]} is not built yet: ${method} ${path}`;
}

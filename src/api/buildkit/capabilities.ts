// What a client may count on, by the names of moby/buildkit's frontend/gateway/pb/caps.go and solver/pb/caps.go.

export const frontendCapabilities = [
  "solve.base",
  "readfile",
  "return",
  "returnmap",
  "readdir",
  "statfile",
  "proto.refarray",
  "reference.output",
  "frontend.inputs",
  "gateway.solve.metadata",
  "frontend.caps",
  "gateway.solve.evaluate",
  "gateway.evaluate",
  "gateway.warnings",
] as const;

/** Of sources and exporters only: graphs in BuildKit's own form are not taken. */
export const graphCapabilities = [
  "source.image",
  "source.image.resolvemode",
  "source.local",
  "source.local.unique",
  "source.local.sessionid",
  "source.local.includepatterns",
  "source.local.followpaths",
  "source.local.excludepatterns",
  "source.local.sharedkeyhint",
  "source.local.differ",
  "exec.meta.base",
  "exec.meta.proxyenv",
  "exec.meta.network",
  "exec.mount.bind",
  "exec.mount.cache",
  "exec.mount.cache.sharing",
  "exec.mount.selector",
  "exec.mount.tmpfs",
  "exec.mount.secret",
  "exec.mount.ssh",
  "file.base",
  "constraints",
  "platform",
  "meta.ignorecache",
  "meta.description",
  "meta.exportcache",
  "exporter.image.attestations",
] as const;

export function enabled(names: readonly string[]): { id: string; enabled: boolean }[] {
  return names.map((id) => ({ id, enabled: true }));
}

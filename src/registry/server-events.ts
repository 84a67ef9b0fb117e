import { randomUUID } from "node:crypto";

/** What happened to a manifest, a tag or a blob. */
export interface Happening {
  readonly action: "push" | "pull" | "mount" | "delete";
  readonly kind: "manifest" | "blob";
  readonly repository: string;
  /** Not known for a tag that was deleted. */
  readonly digest?: string;
  readonly sizeBytes?: number;
  readonly mediaType?: string;
  readonly tag?: string;
  /** Where a blob was mounted from. */
  readonly fromRepository?: string;
}

/** Who caused it: a request, or the registry itself by a rule, which is then the actor's name. */
export interface Cause {
  readonly request?: Request;
  /** `host:port` of the client. */
  readonly address?: string;
  /** The user, or what ran; "" for nobody in particular. */
  readonly actor: string;
}

export interface EventSource {
  readonly addr: string;
  /** Another one after each start. */
  readonly instanceID: string;
}

/** Media type of an envelope, of distribution's notifications (docs/content/about/notifications.md there). */
export const envelopeType = "application/vnd.docker.distribution.events.v2+json";
const blobType = "application/octet-stream";

/** The envelope, as text, that tells of one event in the format of distribution's notifications. */
export function toEnvelope(happening: Happening, cause: Cause, source: EventSource): string {
  const { action, repository, digest, tag, fromRepository, sizeBytes } = happening;
  const isGone = action === "delete";
  const mediaType = happening.mediaType ?? (happening.kind === "blob" && !isGone ? blobType : undefined);
  const target = {
    ...(mediaType === undefined ? {} : { mediaType }),
    ...(digest === undefined ? {} : { digest }),
    ...(sizeBytes === undefined ? {} : { size: sizeBytes, length: sizeBytes }),
    repository,
    ...(fromRepository === undefined ? {} : { fromRepository }),
    ...(isGone || digest === undefined || !cause.request ? {} : { url: urlOf(happening, cause.request) }),
    ...(tag === undefined ? {} : { tag }),
  };
  const { request, address, actor } = cause;
  const event = {
    id: randomUUID(),
    timestamp: new Date().toISOString(),
    action,
    target,
    request: {
      id: request ? randomUUID() : "",
      ...(address === undefined ? {} : { addr: address }),
      ...(request ? { host: request.headers.get("Host") ?? "" } : {}),
      method: request?.method ?? "",
      useragent: request?.headers.get("User-Agent") ?? "",
    },
    actor: actor === "" ? {} : { name: actor },
    source,
  };
  return JSON.stringify({ events: [event] });
}

function urlOf({ kind, repository, digest = "" }: Happening, request: Request): string {
  const origin = new URL(request.url).origin;
  return `${origin}/v2/${repository}/${kind === "blob" ? "blobs" : "manifests"}/${digest}`;
}

import { posix } from "node:path";
import { readTar, type GrowingFile } from "../archive/index.ts";
import type { Lease } from "../content/index.ts";
import { EngineError } from "../common/index.ts";
import { isDigest, type Descriptor } from "../spec/index.ts";
import type { EarlyLayers } from "./early-layers.ts";
import { maxConfigBytes } from "./image-config.ts";
import type { ImageServices } from "./image-record.ts";

const maxMembers = 65_536;
const maxLinkDepth = 8;
/** Old docker-archives repeat these for each layer; nothing here reads them. */
const unread = /(^|\/)(VERSION|json)$/;

/**
 * The files of an image archive, by name. Members come in any order, so each goes into the content store as it arrives, under
 * the lease; what no image turns out to need is collected afterwards.
 */
export class ArchiveMembers {
  readonly #files = new Map<string, Descriptor>();
  readonly #links = new Map<string, string>();
  readonly #content: ImageServices["content"];

  private constructor(content: ImageServices["content"]) {
    this.#content = content;
  }

  static async read(
    services: ImageServices,
    archive: AsyncIterable<Uint8Array>,
    { lease, early }: { lease: Lease; early: EarlyLayers },
  ): Promise<ArchiveMembers> {
    const members = new ArchiveMembers(services.content);
    let count = 0;
    for await (const { header, body } of readTar(archive)) {
      if (++count > maxMembers) throw invalid(`it has more than ${maxMembers} members`);
      const name = memberName(header.name);
      if (header.type === "directory" || unread.test(name)) continue;
      if (header.type === "symlink") {
        members.#links.set(name, memberName(posix.join(posix.dirname(name), header.linkName)));
      } else if (header.type === "hardlink") {
        members.#links.set(name, memberName(header.linkName));
      } else if (header.type === "file") {
        members.#files.set(name, await members.#takeIn(body, { name, sizeBytes: header.size, lease, early }));
      } else {
        throw invalid(`"${header.name}" is a ${header.type}`);
      }
    }
    return members;
  }

  async #takeIn(
    body: AsyncIterable<Uint8Array>,
    member: { name: string; sizeBytes: number; lease: Lease; early: EarlyLayers },
  ): Promise<Descriptor> {
    const { name, sizeBytes, lease, early } = member;
    const digest = expectedDigest(name);
    let settle: ((digest: string) => void) | undefined;
    const watch = { sizeBytes, begin: (file: GrowingFile) => void (settle = early.begin(file)) };
    const descriptor = await this.#content.ingest(body, {
      mediaType: "application/octet-stream",
      lease,
      ...(digest === undefined ? {} : { expected: { digest, size: sizeBytes } }),
      ...(early.wants({ sizeBytes, digest }) ? { watch } : {}),
    });
    settle?.(descriptor.digest);
    return descriptor;
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /** The content that holds a member; links are followed within the archive. Throws invalidArgument when it is missing. */
  file(name: string): Descriptor {
    const file = this.#find(name);
    if (!file) throw invalid(`"${name}" is named in it and missing`);
    return file;
  }

  find(name: string): Descriptor | undefined {
    return this.#find(name);
  }

  bytes(name: string): Uint8Array {
    const file = this.file(name);
    if (file.size > maxConfigBytes) {
      throw invalid(`"${name}" has ${file.size} bytes, and more than ${maxConfigBytes} are not read`);
    }
    return this.#content.readBytes(file.digest, maxConfigBytes);
  }

  json(name: string): unknown {
    try {
      return JSON.parse(Buffer.from(this.bytes(name)).toString("utf8"));
    } catch (cause) {
      if (cause instanceof EngineError) throw cause;
      throw invalid(`"${name}" is no JSON: ${(cause as Error).message}`);
    }
  }

  #find(name: string): Descriptor | undefined {
    let current = memberName(name);
    for (let depth = 0; depth <= maxLinkDepth; depth++) {
      const file = this.#files.get(current);
      if (file) return file;
      const target = this.#links.get(current);
      if (target === undefined) return undefined;
      current = target;
    }
    throw invalid(`"${name}" is a link that leads in a circle`);
  }
}

/** A member's name in one form: relative, without `.` and `..`. */
function memberName(name: string): string {
  const normal = posix.normalize(name).replace(/\/+$/, "");
  if (normal.startsWith("/") || normal === ".." || normal.startsWith("../")) {
    throw invalid(`"${name}" leads out of it`);
  }
  return normal;
}

/** OCI layouts name a blob by its digest, which then must hold. */
function expectedDigest(name: string): string | undefined {
  const [, hex = ""] = /^blobs\/sha256\/([^/]+)$/.exec(name) ?? [];
  if (hex === "") return undefined;
  const digest = `sha256:${hex}`;
  if (!isDigest(digest)) throw invalid(`"${name}" is not named by a sha256 digest`);
  return digest;
}

export function invalid(why: string): EngineError {
  return new EngineError("invalidArgument", `The image archive is not valid: ${why}`);
}

import { join } from "node:path";
import { EngineError } from "./errors.ts";

export const defaultRoot = "/var/lib/vitrine";
export const defaultRunRoot = "/run/vitrine";

/** Linux gives a unix socket's path 108 bytes; a `/proc/self/fd` detour is not worth supporting longer roots. */
const maxSocketPathBytes = 100;

/** Where one engine keeps everything. `root` survives a reboot, `run` does not. All paths are absolute. */
export class Paths {
  constructor(
    readonly root: string = defaultRoot,
    readonly run: string = defaultRunRoot,
  ) {
    if (Buffer.byteLength(this.monitorSocket("0".repeat(64))) > maxSocketPathBytes) {
      throw new EngineError(
        "invalidArgument",
        `run directory "${run}" is too long: a socket path below it would pass ${maxSocketPathBytes} bytes`,
      );
    }
  }

  get database(): string {
    return join(this.root, "engine.db");
  }
  get content(): string {
    return join(this.root, "content");
  }
  get overlay2(): string {
    return join(this.root, "overlay2");
  }
  get volumes(): string {
    return join(this.root, "volumes");
  }
  get trash(): string {
    return join(this.root, "trash");
  }
  get temporary(): string {
    return join(this.root, "tmp");
  }
  container(id: string): string {
    return join(this.root, "containers", id);
  }
  /** Run state of a container; the directory is named by the first 24 digits, so that the socket path stays short. */
  containerRun(id: string): string {
    return join(this.run, id.slice(0, 24));
  }
  monitorSocket(id: string): string {
    return join(this.containerRun(id), "monitor.sock");
  }
  exitRecord(id: string): string {
    return join(this.containerRun(id), "exit");
  }
  networkNamespace(id: string): string {
    return join(this.containerRun(id), "netns");
  }
  get apiSocket(): string {
    return join(this.run, "vitrine.sock");
  }
}

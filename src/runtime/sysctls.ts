import { EngineError } from "../common/index.ts";
import type { OciNamespace } from "../spec/index.ts";

/** Kernel parameters of the ipc namespace; those of the network are all below `net.` (namespaces(7), runc's validator). */
const ipcSysctls = new Set([
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
]);

/** Docker's own: without them a user who is not root may neither ping nor listen below port 1024. */
const privateNetworkSysctls = {
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.ping_group_range": "0 2147483647",
};

export interface SysctlRequest {
  readonly given: Readonly<Record<string, string>>;
  readonly namespaces: readonly OciNamespace[];
  /** Whether the network namespace is the container's alone, rather than the host's or another container's. */
  readonly ownNetwork: boolean;
}

/**
 * The parameters to write in the container's namespaces. Throws invalidArgument for one that no namespace of the container
 * holds: it would change the host.
 */
export function resolveSysctls({ given, namespaces, ownNetwork }: SysctlRequest): Record<string, string> {
  const has = (type: string) => namespaces.some((namespace) => namespace.type === type);
  for (const [name, value] of Object.entries(given)) {
    const dotted = name.includes("/") && !name.includes(".") ? name.replaceAll("/", ".") : name;
    const refuse = (why: string) => new EngineError("invalidArgument", `sysctl "${name}=${value}" ${why}`);
    if (/[^\w./:@-]/.test(name) || dotted.split(/[./]/).some((part) => part === "")) {
      throw refuse("is not the name of a kernel parameter");
    }
    if (ipcSysctls.has(dotted) || dotted.startsWith("fs.mqueue.")) {
      if (!has("ipc")) throw refuse("is not allowed in the hosts ipc namespace");
    } else if (dotted.startsWith("net.")) {
      if (!has("network")) throw refuse("is not allowed in the hosts network namespace");
    } else if (dotted === "kernel.domainname") {
      if (!has("uts")) throw refuse("is not allowed in the hosts uts namespace");
    } else {
      throw refuse("is not in a separate kernel namespace");
    }
  }
  return { ...(ownNetwork && privateNetworkSysctls), ...given };
}

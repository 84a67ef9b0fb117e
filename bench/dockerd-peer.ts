import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountsBelow, newScratch } from "../test/support/scratch.ts";
import { waitFor } from "../test/support/test-engine.ts";
import { removeGroups } from "./peer-groups.ts";
import { capture, docker } from "./programs.ts";

/** Docker's engine with everything of its own: folders, containerd, control group, and a network namespace, which ends with it. */
export interface DockerdPeer extends AsyncDisposable {
  readonly name: string;
  readonly socket: string;
  readonly pid: number;
  readonly containerdPid: number;
}

/** Starts it, or says which program is missing. Its firewall rules and bridge live in its own network namespace. */
export async function startDockerd(): Promise<DockerdPeer | string> {
  for (const program of ["docker", "dockerd", "containerd", "runc", "unshare"]) {
    if (!Bun.which(program)) return `"${program}" is not on this machine (Debian: docker.io)`;
  }
  const scratch = newScratch("vd-");
  const at = (name: string): string => join(scratch.path, name);
  const group = `/bench-docker-${process.pid}`;
  const socket = at("docker.sock");
  writeFileSync(at("containerd.toml"), containerdConfig(at));
  const log = Bun.file(at("log"));
  const containerd = Bun.spawn(["containerd", "--config", at("containerd.toml")], { stdio: ["ignore", log, log] });
  const daemon = Bun.spawn(
    ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec dockerd "$@"', "dockerd", ...options(at, group)],
    { stdio: ["ignore", "ignore", Bun.file(at("dockerd.log"))] },
  );
  const stop = async (): Promise<void> => {
    daemon.kill();
    await daemon.exited;
    containerd.kill();
    await containerd.exited;
    for (const mount of mountsBelow(scratch.path)) Bun.spawnSync(["umount", "-l", mount]);
    removeGroups(group);
    await scratch[Symbol.asyncDispose]();
  };
  try {
    mkdirSync(at("data"), { recursive: true });
    await waitFor("dockerd to answer", async () => {
      if (daemon.exitCode !== null) throw new Error(readFileSync(at("dockerd.log"), "utf8").slice(-1000));
      return await docker(socket, "version").then(
        () => true,
        () => false,
      );
    });
  } catch (error) {
    await stop();
    return `dockerd does not start here: ${(error as Error).message}`;
  }
  const version = await capture("docker", "-H", `unix://${socket}`, "version", "--format", "{{.Server.Version}}");
  return {
    name: `dockerd ${version.split("+")[0]}`,
    socket,
    pid: daemon.pid,
    containerdPid: containerd.pid,
    [Symbol.asyncDispose]: stop,
  };
}

function options(at: (name: string) => string, group: string): string[] {
  const values = {
    "data-root": at("data"),
    "exec-root": at("exec"),
    pidfile: at("dockerd.pid"),
    host: `unix://${at("docker.sock")}`,
    containerd: at("containerd.sock"),
    "cgroup-parent": group,
    "oom-score-adjust": "0",
    bip: "10.213.77.1/24",
  };
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

function containerdConfig(at: (name: string) => string): string {
  return `version = 2
root = "${at("containerd")}"
state = "${at("containerd-state")}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${at("containerd.sock")}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${at("opt")}"
`;
}

import { join } from "node:path";
import { mountsBelow, newScratch } from "./scratch.ts";
import { runProgram, waitFor } from "./test-engine.ts";

/** dockerd in the host's network, so that it reaches registries on 127.0.0.1, with folders of its own and neither bridge nor firewall rules. */
export interface HostDockerd extends AsyncDisposable {
  /** docker's command line against it; the output. Throws its words when it fails. */
  docker(...words: string[]): Promise<string>;
}

/** dockerd takes certificates from /etc/docker only, which is the machine's; registries on 127.0.0.0/8 it lets go without TLS. */
export async function startHostDockerd(): Promise<HostDockerd> {
  const scratch = newScratch();
  const at = (name: string): string => join(scratch.path, name);
  const socket = `unix://${at("d.sock")}`;
  const own = ["--data-root", at("dd"), "--exec-root", at("de"), "--host", socket, "--pidfile", at("d.pid")];
  const log = Bun.file(at("dockerd.log"));
  const daemon = Bun.spawn(["dockerd", ...own, "--bridge", "none", "--iptables=false", "--storage-driver", "vfs"], {
    stdio: ["ignore", log, log],
  });
  const docker = async (...words: string[]): Promise<string> => {
    const command = ["timeout", "-s", "KILL", "60", "docker", "--config", at("config"), "-H", socket, ...words];
    const { exitCode, stdout, stderr } = await runProgram(command, { DOCKER_BUILDKIT: "0" });
    if (exitCode !== 0) throw new Error(`docker ${words.join(" ")}: ${stderr}${stdout}`);
    return stdout.trim();
  };
  const stop = async (): Promise<void> => {
    daemon.kill();
    await daemon.exited;
    for (const mount of mountsBelow(scratch.path)) Bun.spawnSync(["umount", "-l", mount]);
    await scratch[Symbol.asyncDispose]();
  };
  try {
    await waitFor("dockerd to answer", async () => {
      if (daemon.exitCode !== null) throw new Error(`dockerd ended: ${(await log.text()).slice(-1000)}`);
      return docker("version").then(
        () => true,
        () => false,
      );
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { docker, [Symbol.asyncDispose]: stop };
}

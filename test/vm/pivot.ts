/** pivot_root(8) into a tmpfs, in a mount namespace of its own. */
export async function pivotInNewNamespace(): Promise<{ exitCode: number; output: string }> {
  const script = [
    "mkdir -p /tmp/new-root",
    "mount -t tmpfs tmpfs /tmp/new-root",
    "mkdir /tmp/new-root/old",
    "cd /tmp/new-root",
    "busybox pivot_root . old",
    "exec /old/usr/bin/busybox ls /",
  ];
  const child = Bun.spawn(["unshare", "--mount", "sh", "-ec", script.join("\n")], { stdout: "pipe", stderr: "pipe" });
  const output = (await new Response(child.stdout).text()) + (await new Response(child.stderr).text());
  return { exitCode: await child.exited, output };
}

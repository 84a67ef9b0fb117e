// What the virtual machine's root holds: the host's programs with their libraries, busybox for the rest, the project and Bun.
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { CpioWriter } from "./cpio.ts";
import { type GuestKernel, modulesInOrder } from "./kernel.ts";

/** Where the project lies inside. */
export const guestProject = "/project";

/** What containers need beyond Debian's built-in parts, and what the suites look at. */
const modules = [
  "overlay",
  "veth",
  "bridge",
  "br_netfilter",
  "tun",
  "dummy",
  "loop",
  "nf_tables",
  "nf_conntrack",
  "nf_conntrack_netlink",
  "nf_nat",
  "nft_chain_nat",
  "nft_ct",
  "nft_nat",
  "nft_masq",
  "nft_redir",
  "nft_fib",
  "nft_fib_inet",
  "nft_fib_ipv4",
  "nft_fib_ipv6",
  "nft_reject_inet",
  "nft_compat",
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
];

/** Real programs where the host has them, since the suites read their output; busybox stands in for the rest. */
const programs = (
  "sh bash cat cp mv rm ln ls mkdir rmdir mkfifo mknod touch stat chmod chown chgrp dd df du head tail tee wc sort uniq seq cut tr " +
  "sleep sync timeout true false test [ env id whoami printf echo expr date mktemp readlink realpath basename dirname truncate od " +
  "sha256sum tty stty nproc uname hostname grep sed awk find xargs tar gzip zstd ps kill mount umount findmnt mountpoint lsns unshare " +
  "nsenter setpriv prlimit script ip nft conntrack ss getfattr setfattr getcap setcap capsh curl nc socat strace keyctl"
).split(" ");

const projectFolders = ["src", "test", "scripts", "examples"];
const projectFiles = ["package.json", "tsconfig.json", "bunfig.toml", "dist/vitrine-helper"];

/** Writes the initramfs: the first root, from which /init moves into a tmpfs. */
export function writeRoot(file: string, options: { project: string; kernel: GuestKernel; bun: string }): void {
  using archive = new CpioWriter(file);
  for (const name of ["bin", "sbin", "lib", "lib64"]) archive.symlink(`/${name}`, `usr/${name}`);
  for (const name of ["dev", "proc", "sys", "run", "tmp", "root", "mnt", "var/lib", "usr/sbin"])
    archive.directory(`/${name}`);
  archive.file("/init", readFileSync(join(import.meta.dir, "init.sh")), { executable: true });
  addModules(archive, options.kernel);
  addPrograms(archive);
  addProgram(archive, options.bun, "/usr/bin/bun");
  addAccounts(archive);
  addProject(archive, options.project);
}

function addModules(archive: CpioWriter, kernel: GuestKernel): void {
  const ordered = modulesInOrder(kernel, modules);
  for (const { name, content } of ordered) archive.file(`/modules/${name}.ko`, content);
  archive.file("/modules/order", ordered.map(({ name }) => `${name}\n`).join(""));
}

function addPrograms(archive: CpioWriter): void {
  const busybox = findProgram("busybox");
  if (!busybox) throw new Error("The virtual machine needs busybox: install busybox-static");
  archive.file("/usr/bin/busybox", readFileSync(busybox), { executable: true });
  for (const name of programs) {
    const path = findProgram(name);
    if (path && realpathSync(path) !== realpathSync(busybox)) addProgram(archive, path, merged(path));
  }
  for (const applet of Bun.spawnSync([busybox, "--list"]).stdout.toString().split("\n").filter(Boolean)) {
    if (!archive.has(`/usr/sbin/${applet}`)) archive.symlink(`/usr/bin/${applet}`, "busybox");
  }
}

function findProgram(name: string): string | undefined {
  return ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

/** A program or library file, whatever links lead to it, with the libraries that its loader names. */
function addProgram(archive: CpioWriter, source: string, target: string): void {
  archive.file(target, readFileSync(source), { executable: true });
  const listed = Bun.spawnSync(["ldd", source], { stderr: "ignore" }).stdout.toString();
  for (const [library] of listed.matchAll(/\/[^\s()]+(?= \(0x)/g)) {
    if (!archive.has(merged(library))) archive.file(merged(library), readFileSync(library), { executable: true });
  }
}

/** /bin/x → /usr/bin/x, as the links at the root have it. */
function merged(path: string): string {
  return path.replace(/^\/(bin|sbin|lib|lib64)\//, "/usr/$1/");
}

function addAccounts(archive: CpioWriter): void {
  const accounts = [
    "root:x:0:0:root:/root:/bin/sh",
    "daemon:x:1:1:daemon:/:/bin/false",
    "nobody:x:65534:65534:nobody:/:/bin/false",
  ];
  archive.file("/etc/passwd", `${accounts.join("\n")}\n`);
  archive.file("/etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n");
  archive.file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  archive.file("/etc/hostname", "vitrine-vm\n");
  archive.file("/etc/resolv.conf", "");
  for (const file of ["/etc/ld.so.cache", "/etc/services", "/etc/protocols"]) {
    if (existsSync(file)) archive.file(file, readFileSync(file));
  }
}

function addProject(archive: CpioWriter, project: string): void {
  for (const file of projectFiles) {
    const path = join(project, file);
    if (existsSync(path))
      archive.file(`${guestProject}/${file}`, readFileSync(path), { executable: file.startsWith("dist/") });
  }
  for (const folder of projectFolders) addTree(archive, join(project, folder), `${guestProject}/${folder}`);
  for (const name of runtimeDependencies(project)) {
    addTree(archive, join(project, "node_modules", name), `${guestProject}/node_modules/${name}`);
  }
  archive.symlink(`${guestProject}/node_modules/.bin/bun`, "/usr/bin/bun");
}

function addTree(archive: CpioWriter, source: string, target: string): void {
  if (!existsSync(source)) return;
  for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const executable = (statSync(path).mode & 0o111) !== 0;
    archive.file(target + path.slice(source.length), readFileSync(path), { executable });
  }
}

/** The packages that the project's own code imports, with theirs; Bun comes as a program, development tools stay out. */
function runtimeDependencies(project: string): string[] {
  const found = new Set<string>();
  const visit = (manifest: string): void => {
    const { dependencies = {} } = JSON.parse(readFileSync(manifest, "utf8")) as {
      dependencies?: Record<string, string>;
    };
    for (const name of Object.keys(dependencies)) {
      const next = join(project, "node_modules", name, "package.json");
      if (name === "bun" || found.has(name) || !existsSync(next)) continue;
      found.add(name);
      visit(next);
    }
  };
  visit(join(project, "package.json"));
  return [...found];
}

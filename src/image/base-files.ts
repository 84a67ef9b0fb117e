import { existsSync } from "node:fs";
import type { HostFiles } from "./host-files.ts";

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`;
const group = `root:x:0:
daemon:x:1:
tty:x:5:
nogroup:x:65534:
`;
/** Files before DNS, and nothing that would need a service. */
const nameServices = `passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
`;
const directories: readonly [path: string, mode: number][] = [
  ["/dev", 0o755],
  ["/etc", 0o755],
  ["/home", 0o755],
  ["/proc", 0o555],
  ["/root", 0o700],
  ["/run", 0o755],
  ["/sys", 0o555],
  ["/tmp", 0o1777],
  ["/var", 0o755],
  ["/var/tmp", 0o1777],
];
/** Links to `usr/…` where the host has merged them, directories where not: programs are named by both. */
const systemDirectories = ["/bin", "/lib", "/lib64", "/sbin"];

/** What a root file system has beside programs: the directories and the tables that C libraries read. */
export function addBaseFiles(files: HostFiles): void {
  for (const path of systemDirectories) if (existsSync(path)) files.add(path);
  for (const [path, mode] of directories) files.addDirectory(path, mode);
  files.addDirectory("/usr/local/bin");
  files.addText("/etc/passwd", passwd);
  files.addText("/etc/group", group);
  files.addText("/etc/nsswitch.conf", nameServices);
}

/** What terminals are named after, so that `top`, `less` and `clear` work on one. */
const terminals = [
  "d/dumb",
  "l/linux",
  "s/screen",
  "s/screen-256color",
  "t/tmux",
  "v/vt100",
  "x/xterm",
  "x/xterm-256color",
];

/** The descriptions of the usual terminals, where the host has them. */
export function addTerminals(files: HostFiles): void {
  for (const root of ["/lib/terminfo", "/usr/share/terminfo"]) {
    for (const name of terminals) if (existsSync(`${root}/${name}`)) files.add(`${root}/${name}`);
  }
}

/** The linker's table of libraries, for images that have some where it would not look by itself. */
export function addLinkerCache(files: HostFiles): void {
  for (const path of ["/etc/ld.so.cache", "/etc/ld.so.conf"]) if (existsSync(path)) files.add(path);
}

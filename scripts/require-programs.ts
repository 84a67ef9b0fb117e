/** A program of the host that tests watch with, and the Debian package that has it. */
interface Required {
  readonly program: string;
  readonly debianPackage: string;
}

const forTests: readonly Required[] = [
  { program: "ip", debianPackage: "iproute2" },
  { program: "nft", debianPackage: "nftables" },
  { program: "iptables", debianPackage: "iptables" },
  { program: "curl", debianPackage: "curl" },
  { program: "nsenter", debianPackage: "util-linux" },
  { program: "findmnt", debianPackage: "util-linux" },
  { program: "setpriv", debianPackage: "util-linux" },
  { program: "strace", debianPackage: "strace" },
  { program: "ps", debianPackage: "procps" },
  { program: "tar", debianPackage: "tar" },
  { program: "getfattr", debianPackage: "attr" },
  { program: "setcap", debianPackage: "libcap2-bin" },
  { program: "busybox", debianPackage: "busybox-static" },
  { program: "docker", debianPackage: "docker.io" },
  { program: "zstd", debianPackage: "zstd" },
  { program: "xz", debianPackage: "xz-utils" },
  { program: "bzip2", debianPackage: "bzip2" },
  { program: "conntrack", debianPackage: "conntrack" },
  { program: "runc", debianPackage: "runc" },
  { program: "openssl", debianPackage: "openssl" },
  { program: "mkfs.btrfs", debianPackage: "btrfs-progs" },
  { program: "mkfs.ext4", debianPackage: "e2fsprogs" },
  { program: "filefrag", debianPackage: "e2fsprogs" },
  { program: "git", debianPackage: "git" },
  { program: "ssh-add", debianPackage: "openssh-client" },
];

const forLongTests: readonly Required[] = [
  ...forTests,
  { program: "dockerd", debianPackage: "docker.io" },
  { program: "podman", debianPackage: "podman" },
  { program: "skopeo", debianPackage: "skopeo" },
  { program: "docker-registry", debianPackage: "docker-registry" },
  { program: "ssh", debianPackage: "openssh-client" },
  { program: "sshd", debianPackage: "openssh-server" },
  { program: "rpmbuild", debianPackage: "rpm" },
  { program: "db5.3_load", debianPackage: "db5.3-util" },
  { program: "debootstrap", debianPackage: "debootstrap" },
  { program: "fuse-overlayfs", debianPackage: "fuse-overlayfs" },
  { program: "mkfs.xfs", debianPackage: "xfsprogs" },
];

const forDebianBase: readonly Required[] = [
  { program: "debootstrap", debianPackage: "debootstrap" },
  { program: "tar", debianPackage: "tar" },
];

const required = { test: forTests, long: forLongTests, "debian-base": forDebianBase } as const;

/** Installs, with apt-get, the Debian packages whose programs are missing; elsewhere throws a sentence that names them. */
export async function requirePrograms(kind: keyof typeof required): Promise<void> {
  const missing = required[kind].filter(({ program }) => !Bun.which(program, { PATH: searchPath }));
  if (missing.length === 0) return;
  await installPackages([...new Set(missing.map(({ debianPackage }) => debianPackage))]);
}

const searchPath = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

/** `apt-get install`, without questions. Throws a sentence that names the packages where there is no apt-get or it fails. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  const list = packages.join(" ");
  if (!Bun.which("apt-get")) throw new Error(`Programs are missing on this machine: install ${list}.`);
  console.error(`Installing programs that are missing: ${list}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const command of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
    const run = Bun.spawn(["apt-get", ...command], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    const [status, words] = await Promise.all([run.exited, new Response(run.stderr).text()]);
    if (status !== 0) throw new Error(`apt-get ${command[0]} failed (install ${list} by hand):\n${words}`);
  }
}

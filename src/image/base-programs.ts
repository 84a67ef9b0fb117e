/** What `vitrine/base` has, where the host has it: Debian's essential commands and what the walkthrough looks with. */
export const basePrograms: readonly string[] = [
  ...words("sh bash dash"),
  // coreutils
  ...words(`[ arch b2sum base32 base64 basename basenc cat chgrp chmod chown chroot cksum comm cp csplit cut date dd df dir
    dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln logname ls
    md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pinky pr printenv printf ptx pwd readlink
    realpath rm rmdir seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum
    sync tac tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink users vdir wc who whoami yes`),
  // procps
  ...words("free kill pgrep pidof pkill pmap ps sysctl top uptime vmstat w watch"),
  // util-linux
  ...words(`findmnt flock getopt hexdump ipcs ipcrm logger lscpu lsns mcookie mesg more mount mountpoint nsenter prlimit rev
    script setpriv setsid taskset umount unshare`),
  ...words("ip ss ping hostname getent ldd getcap setcap capsh getfattr setfattr"),
  ...words("awk cmp diff egrep fgrep find grep gunzip gzip less sed tar which xargs zcat"),
];

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/** One run of a virtual machine. */
export interface MachineOptions {
  readonly kernelImage: string;
  readonly initramfs: string;
  /** `key=value` words for the kernel's command line, without spaces. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly memoryMebibytes: number;
  readonly cpus: number;
  readonly limitMs: number;
  /** A disk's file: /dev/vda inside. */
  readonly disk?: string;
  /** Cuts the power: the machine is killed, with all that had not come to its disk. */
  readonly cut?: AbortSignal;
  /** Told each line of the console beside its being passed through to stdout. */
  readonly onLine?: (line: string) => void;
}

const stallIsPanic = ["softlockup_panic=1", "watchdog_thresh=15"];

/**
 * Boots QEMU by software (KVM hangs on some machines that are virtual themselves), passes the serial console through to stdout, and resolves with the
 * number that the guest wrote behind its token; with undefined when it ended without one, as after a panic. A processor that the emulation
 * lets hang (seen once in ten runs, in the kernel, between tests) is a panic after half a minute. Throws when it does not end in time.
 */
export async function runMachine(options: MachineOptions): Promise<number | undefined> {
  // Unguessable: no test can print the line that ends the run.
  const token = `vitrine-vm-${crypto.randomUUID()}`;
  const parameters = { ...options.parameters, "vitrine.token": token };
  const words = Object.entries(parameters).map(([key, value]) => `${key}=${value}`);
  const append = ["console=ttyS0", "quiet", "loglevel=2", "panic=-1", ...stallIsPanic, "rdinit=/init", ...words].join(
    " ",
  );
  const command =
    `qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp ${options.cpus} -m ${options.memoryMebibytes}M ` +
    "-nodefaults -no-reboot -display none -serial stdio -monitor none";
  // What the guest flushes is on the disk; the rest of its memory goes with it.
  const drive =
    options.disk === undefined ? [] : ["-drive", `file=${options.disk},if=virtio,format=raw,cache=writeback`];
  const machine = Bun.spawn(
    [...command.split(" "), ...drive, "-kernel", options.kernelImage, "-initrd", options.initramfs, "-append", append],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    machine.kill("SIGKILL");
  }, options.limitMs);
  options.cut?.addEventListener("abort", () => machine.kill("SIGKILL"));
  try {
    const status = await readConsole(machine.stdout, { token, onLine: options.onLine });
    await machine.exited;
    if (isLate) throw new Error(`The virtual machine did not end within ${options.limitMs / 1000} s`);
    return status;
  } finally {
    clearTimeout(timer);
    machine.kill("SIGKILL");
  }
}

/** Passes the console's lines on and picks the result out of them. */
async function readConsole(
  console_: ReadableStream<Uint8Array>,
  { token, onLine }: { token: string; onLine: MachineOptions["onLine"] },
): Promise<number | undefined> {
  let status: number | undefined;
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of console_) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).replaceAll("\r", "").split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith(`${token} `)) status = Number(line.slice(token.length + 1));
      else {
        process.stdout.write(`${line}\n`);
        onLine?.(line);
      }
    }
  }
  if (rest !== "") process.stdout.write(`${rest}\n`);
  return status;
}

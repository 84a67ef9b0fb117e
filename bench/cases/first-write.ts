import type { Figure } from "../figures.ts";
import { api, image, must, type Stage } from "../stage.ts";

const fileMegabytes = 1024;
const rounds = 3;
/** The copy-up: the first byte written to a large file of the image copies all of it, one written to a volume copies nothing. */
export async function firstWrite({ engine }: Stage): Promise<Figure> {
  const { socket } = engine;
  await makeImage(socket);
  const inImage: number[] = [];
  const inVolume: number[] = [];
  for (let round = 0; round < rounds; round++) {
    inVolume.push(await timed(socket, { path: "/data/large", binds: ["bench-data:/data"] }));
    inImage.push(await timed(socket, { path: "/large", binds: [] }));
  }
  await api(socket, "DELETE /volumes/bench-data?force=1");
  const series = [
    { engine: "volume", samples: inVolume },
    { engine: "file of the image", samples: inImage },
  ];
  return {
    title: `First byte into a file of ${fileMegabytes} MB, start and end of its container included`,
    unit: "ms",
    series,
  };
}

async function makeImage(socket: string): Promise<void> {
  const make = `busybox dd if=/dev/zero of=/large bs=1M count=${fileMegabytes} && busybox cp /large /data/large`;
  const { Id } = await api(socket, "POST /containers/create", {
    Image: image,
    Cmd: ["busybox", "sh", "-c", make],
    HostConfig: { Binds: ["bench-data:/data"] },
  });
  const path = `/containers/${String(Id)}` as const;
  await api(socket, `POST ${path}/start`);
  await api(socket, `POST ${path}/wait`);
  await must(fetch(`http://engine/commit?container=${String(Id)}&repo=bench-large`, { unix: socket, method: "POST" }));
  await api(socket, `DELETE ${path}`);
}

async function timed(socket: string, options: { path: string; binds: string[] }): Promise<number> {
  const { Id } = await api(socket, "POST /containers/create", {
    Image: "bench-large",
    Cmd: ["busybox", "dd", "if=/dev/zero", `of=${options.path}`, "bs=1", "count=1", "conv=notrunc"],
    HostConfig: { Binds: options.binds },
  });
  const path = `/containers/${String(Id)}` as const;
  const begin = performance.now();
  await api(socket, `POST ${path}/start`);
  await api(socket, `POST ${path}/wait`);
  const taken = performance.now() - begin;
  await api(socket, `DELETE ${path}?v=1`);
  return taken;
}

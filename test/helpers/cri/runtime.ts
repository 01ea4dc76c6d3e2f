// The calls of the kubelet that matter to a pod's network. Field numbers from k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
import { openChannel } from "./grpc.ts";
import { decode, encode, type Fields } from "./protobuf.ts";

const metadata = { name: [1, "string"], uid: [2, "string"], namespace: [3, "string"], attempt: [4, "int"] } as const;
const portMapping = {
  protocol: [1, "int"],
  containerPort: [2, "int"],
  hostPort: [3, "int"],
  hostIp: [4, "string"],
} as const;
const sandboxConfig = {
  metadata: [1, metadata],
  hostname: [2, "string"],
  logDirectory: [3, "string"],
  portMappings: [5, [portMapping]],
  labels: [6, "map"],
  annotations: [7, "map"],
  linux: [8, { cgroupParent: [1, "string"] }],
} as const;
const imageSpec = { image: [1, "string"] } as const;
const containerConfig = {
  metadata: [1, { name: [1, "string"], attempt: [2, "int"] }],
  image: [2, imageSpec],
  command: [3, ["string"]],
  args: [4, ["string"]],
} as const;
const sandbox = { id: [1, "string"], metadata: [2, metadata], state: [3, "int"] } as const;
const sandboxStatus = {
  ...sandbox,
  network: [5, { ip: [1, "string"], additionalIps: [2, [{ ip: [1, "string"] }]] }],
} as const;
const condition = { type: [1, "string"], status: [2, "bool"], reason: [3, "string"], message: [4, "string"] } as const;
const pod = { podSandboxId: [1, "string"] } as const;
const container = { containerId: [1, "string"] } as const;

/** Method name: request and response. */
const methods = {
  Status: [{ verbose: [1, "bool"] }, { status: [1, { conditions: [1, [condition]] }], info: [2, "map"] }],
  RunPodSandbox: [{ config: [1, sandboxConfig], runtimeHandler: [2, "string"] }, pod],
  StopPodSandbox: [pod, {}],
  RemovePodSandbox: [pod, {}],
  PodSandboxStatus: [
    { ...pod, verbose: [2, "bool"] },
    { status: [1, sandboxStatus], info: [2, "map"] },
  ],
  ListPodSandbox: [{}, { items: [1, [sandbox]] }],
  CreateContainer: [{ ...pod, config: [2, containerConfig], sandboxConfig: [3, sandboxConfig] }, container],
  StartContainer: [container, {}],
  ExecSync: [
    { ...container, cmd: [2, ["string"]], timeout: [3, "int"] },
    { stdout: [1, "string"], stderr: [2, "string"], exitCode: [3, "int"] },
  ],
  ImageStatus: [{ image: [1, imageSpec] }, { image: [1, { id: [1, "string"] }] }],
} as const satisfies Record<string, readonly [Fields, Fields]>;

export type Runtime = {
  call(method: keyof typeof methods, request?: Record<string, any>): Promise<any>;
  close(): void;
};

/** A CRI client on the runtime's socket; each call has 30 s. */
export function openRuntime(socket: string): Runtime {
  const channel = openChannel(socket);
  return {
    async call(method, request = {}) {
      const [asked, answered] = methods[method];
      const service = method.startsWith("Image") ? "ImageService" : "RuntimeService";
      const bytes = await channel.call(`/runtime.v1.${service}/${method}`, encode(asked, request), 30_000);
      return decode(answered, bytes);
    },
    close: () => channel.close(),
  };
}

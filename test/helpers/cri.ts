// The calls of the kubelet that matter to a pod's network, and of their messages the fields that do
// (what a program prints is bytes there, and text here): k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import protobuf from "protobufjs";

const { root } = protobuf.parse(`
  syntax = "proto3";
  message PodSandboxMetadata { string name = 1; string uid = 2; string namespace = 3; uint32 attempt = 4; }
  message PortMapping { int32 protocol = 1; int32 container_port = 2; int32 host_port = 3; string host_ip = 4; }
  message LinuxPodSandboxConfig { string cgroup_parent = 1; }
  message PodSandboxConfig {
    PodSandboxMetadata metadata = 1; string hostname = 2; string log_directory = 3; repeated PortMapping port_mappings = 5;
    map<string, string> labels = 6; map<string, string> annotations = 7; LinuxPodSandboxConfig linux = 8;
  }
  message ImageSpec { string image = 1; }
  message ContainerMetadata { string name = 1; uint32 attempt = 2; }
  message ContainerConfig {
    ContainerMetadata metadata = 1; ImageSpec image = 2; repeated string command = 3; repeated string args = 4;
  }
  message PodSandbox { string id = 1; PodSandboxMetadata metadata = 2; int32 state = 3; }
  message PodIP { string ip = 1; }
  message PodSandboxNetworkStatus { string ip = 1; repeated PodIP additional_ips = 2; }
  message PodSandboxStatus { string id = 1; PodSandboxMetadata metadata = 2; int32 state = 3; PodSandboxNetworkStatus network = 5; }
  message RuntimeCondition { string type = 1; bool status = 2; string reason = 3; string message = 4; }
  message RuntimeStatus { repeated RuntimeCondition conditions = 1; }
  message Image { string id = 1; }

  message StatusRequest { bool verbose = 1; }
  message StatusResponse { RuntimeStatus status = 1; map<string, string> info = 2; }
  message RunPodSandboxRequest { PodSandboxConfig config = 1; string runtime_handler = 2; }
  message RunPodSandboxResponse { string pod_sandbox_id = 1; }
  message StopPodSandboxRequest { string pod_sandbox_id = 1; }
  message StopPodSandboxResponse {}
  message RemovePodSandboxRequest { string pod_sandbox_id = 1; }
  message RemovePodSandboxResponse {}
  message PodSandboxStatusRequest { string pod_sandbox_id = 1; bool verbose = 2; }
  message PodSandboxStatusResponse { PodSandboxStatus status = 1; map<string, string> info = 2; }
  message ListPodSandboxRequest {}
  message ListPodSandboxResponse { repeated PodSandbox items = 1; }
  message CreateContainerRequest { string pod_sandbox_id = 1; ContainerConfig config = 2; PodSandboxConfig sandbox_config = 3; }
  message CreateContainerResponse { string container_id = 1; }
  message StartContainerRequest { string container_id = 1; }
  message StartContainerResponse {}
  message ExecSyncRequest { string container_id = 1; repeated string cmd = 2; int64 timeout = 3; }
  message ExecSyncResponse { string stdout = 1; string stderr = 2; int32 exit_code = 3; }
  message ImageStatusRequest { ImageSpec image = 1; }
  message ImageStatusResponse { Image image = 1; }
`);

type Method =
  | "Status"
  | "RunPodSandbox"
  | "StopPodSandbox"
  | "RemovePodSandbox"
  | "PodSandboxStatus"
  | "ListPodSandbox"
  | "CreateContainer"
  | "StartContainer"
  | "ExecSync"
  | "ImageStatus";

export type Runtime = {
  call(method: Method, request?: Record<string, any>): Promise<any>;
  close(): void;
};

/** A CRI client on the runtime's socket; each call has 30 s. A refusal is the library's ServiceError. */
export function openRuntime(socket: string): Runtime {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  return {
    call(method, request = {}) {
      const [asked, answered] = [root.lookupType(`${method}Request`), root.lookupType(`${method}Response`)];
      const service = method.startsWith("Image") ? "ImageService" : "RuntimeService";
      const wrong = asked.verify(request);
      if (wrong) throw new TypeError(`Cannot call ${method}: ${wrong}`);
      const options = { arrays: true, objects: true, longs: Number };
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          `/runtime.v1.${service}/${method}`,
          (message: any) => Buffer.from(asked.encode(asked.create(message)).finish()),
          (bytes: Buffer) => answered.toObject(answered.decode(bytes), options),
          request,
          { deadline: Date.now() + 30_000 },
          (error: ServiceError | null, answer) => (error ? reject(error) : resolve(answer)),
        );
      });
    },
    close: () => client.close(),
  };
}

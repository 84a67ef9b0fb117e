import type { NetworkResource } from "../spec/index.ts";
import type { EndpointRecord, NetworkRecord } from "./endpoint-store.ts";
import { gatewayOf, parseSubnet } from "./subnet.ts";

/** `GET /networks/{id}`: a network with the containers that are on it now. */
export function networkResource(network: NetworkRecord, endpoints: readonly EndpointRecord[]): NetworkResource {
  const subnet = network.subnet;
  const config = subnet === undefined ? [] : [{ Subnet: subnet, Gateway: gatewayOf(parseSubnet(subnet)) }];
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: "local",
    Driver: network.driver,
    EnableIPv6: false,
    IPAM: { Driver: "default", Options: null, Config: config },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: containersOf(network, endpoints),
    Options: network.bridge === undefined ? {} : bridgeOptions(network.bridge),
    Labels: {},
  };
}

/** The names that Docker gives the properties of its default bridge. */
function bridgeOptions(bridge: string): Record<string, string> {
  return {
    "com.docker.network.bridge.default_bridge": "true",
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
    "com.docker.network.bridge.name": bridge,
  };
}

function containersOf(network: NetworkRecord, endpoints: readonly EndpointRecord[]): NetworkResource["Containers"] {
  const containers: NetworkResource["Containers"] = {};
  for (const { containerId, containerName, networkName, settings } of endpoints) {
    if (networkName !== network.name || !settings) continue;
    containers[containerId] = {
      Name: containerName.replace(/^\//, ""),
      EndpointID: settings.EndpointID,
      MacAddress: settings.MacAddress,
      IPv4Address: settings.IPAddress ? `${settings.IPAddress}/${settings.IPPrefixLen}` : "",
      IPv6Address: "",
    };
  }
  return containers;
}

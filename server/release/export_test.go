package release

// HostPlatform is how the proxy names toolchains that run here.
var HostPlatform = hostPlatform

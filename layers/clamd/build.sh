#!/usr/bin/env bash
# Assembles the Lambda layer with clamd and freshclam from Debian 12 packages.
#
#   build.sh x86_64|arm64 OUTDIR
#
# OUTDIR becomes /opt of the function. Needs neither root nor the architecture built for, and
# leaves the host's packages and package lists alone: apt gets a state of its own. Debian's
# signatures are checked by apt, as always.
#
# S3_VIRUSSCAN_CACHE   where downloaded packages are kept (default: target/debs of the
#                      repository, outside of one ~/.cache/s3-virusscan)
set -euo pipefail
umask 022
export LC_ALL=C

fail() { echo "build.sh: $*" >&2; exit 1; }

[ $# -eq 2 ] || fail "usage: build.sh x86_64|arm64 OUTDIR"
case $1 in
    x86_64) debian=amd64 triplet=x86_64-linux-gnu ;;
    arm64) debian=arm64 triplet=aarch64-linux-gnu ;;
    *) fail "architecture '$1': must be x86_64 or arm64" ;;
esac
arch=$1
mkdir -p "$2"
outdir=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# What the layer holds is settled by the package names of this one release.
release=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-unknown}")
[ "$release" = "debian 12" ] || fail "this host is '$release'; the layer is made of Debian 12 packages, on Debian 12"
for tool in apt-get apt-config dpkg-deb python3 readelf flock; do
    command -v "$tool" >/dev/null || fail "'$tool' is missing (packages: apt dpkg python3 binutils util-linux)"
done

if [ -n "${S3_VIRUSSCAN_CACHE:-}" ]; then
    cache=$S3_VIRUSSCAN_CACHE
elif [ -f "$here/../../Cargo.toml" ]; then
    cache=$here/../../target/debs
else # a copy of this folder, as `sam build` makes one
    cache=${XDG_CACHE_HOME:-${HOME:?set HOME or S3_VIRUSSCAN_CACHE}/.cache}/s3-virusscan
fi
mkdir -p "$cache/$arch"
cache=$(cd "$cache/$arch" && pwd)
exec 9>"$cache/lock"
flock 9 # two builds at once share one cache

# Nothing is done again while scripts and result are those of the last build. Newer packages
# are looked for when OUTDIR is gone.
stamp=$cache/built-$(printf %s "$outdir" | sha256sum | cut -c1-16)
state_of_build() {
    sha256sum <"$here/build.sh"; sha256sum <"$here/sources.py"; sha256sum <"$here/assemble.py"
    sha256sum <"$outdir/clamav/packages.txt"
}
if [ -f "$outdir/clamav/packages.txt" ] && [ "$(state_of_build)" = "$(cat "$stamp" 2>/dev/null)" ]; then
    echo "layer $arch: unchanged, $outdir"
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$cache/apt/lists/partial" "$cache/archives/partial" "$scratch/etc/sources.list.d" "$scratch/etc/none"
: >"$scratch/status" # as if nothing was installed: every dependency is part of the closure
python3 "$here/sources.py" >"$scratch/etc/sources.list.d/debian.sources"

# Of the host's configuration only how to fetch (proxies and the like) is taken over. Its hooks
# must not run: they act on the host's own package state.
{
    apt-config dump --format '%F "%v";%n' | grep '^Acquire::' | grep -v -e '^Acquire::IndexTargets' -e '^Acquire::Languages'
    cat <<CONF
Acquire::Languages "none";
Acquire::Retries "3";
APT::Architecture "$debian";
APT::Architectures { "$debian"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Dir::State "$cache/apt";
Dir::State::status "$scratch/status";
Dir::Cache "$cache";
Dir::Log "$scratch";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$scratch/etc/sources.list.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$scratch/etc/none";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "$scratch/etc/none";
CONF
} >"$scratch/apt.conf"
export APT_CONFIG=$scratch/apt.conf

# base-files carries the licence texts that the packages' copyright files refer to.
packages=(clamav-daemon clamav-freshclam libclamunrar12 ca-certificates base-files)
echo "layer $arch: package lists"
apt-get -qq --error-on=any update || fail "no Debian package lists (see above)"
echo "layer $arch: packages"
apt-get -qq --simulate install "${packages[@]}" >"$scratch/plan" || fail "apt cannot resolve ${packages[*]} for $debian"
apt-get -qq --yes --download-only install "${packages[@]}" >"$scratch/download.log" 2>&1 ||
    { cat "$scratch/download.log" >&2; fail "the packages cannot be downloaded"; }

# apt names a file package_version_architecture.deb, with the colon of an epoch as %3a.
sed -nE 's/^Inst (\S+) \((\S+) .*\[(\S+)\]\).*/\1_\2_\3.deb/p' "$scratch/plan" |
    sed 's/:/%3a/g' | sort >"$scratch/debs.txt"
[ -s "$scratch/debs.txt" ] || fail "apt's plan names no package: $(head -3 "$scratch/plan")"
# What an earlier release needed is dropped from the cache.
(cd "$cache/archives" && find -- *.deb | sort | comm -23 - "$scratch/debs.txt" | xargs -r -d '\n' rm -f --)

echo "layer $arch: assembling"
rm -rf "$outdir/clamav" "$stamp"
python3 "$here/assemble.py" "$cache/archives" "$scratch/debs.txt" "$triplet" "$scratch/unpacked" "$outdir"
state_of_build >"$stamp"
echo "layer $arch: $outdir"

#!/bin/sh
# Extracts the data files of data/builtin again, from Debian (bookworm) packages.
# Usage, in the repository root: testdata/fetch/fetch.sh
# It installs nothing: the packages are downloaded and unpacked in a temporary folder.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get download \
  python3-sklearn=1.2.1+dfsg-1 \
  dataset-fashion-mnist=0.0~git20200523.55506a9-1 \
  weka=3.6.14-3
for deb in *.deb; do dpkg-deb -x "$deb" unpacked; done
sha256sum -c - <<SUMS
46abec6b12486ad9e51943373abcf22bbea1b5a51a1619b361570d8893f1464a  unpacked/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz
cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa  unpacked/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05  unpacked/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz
bd94085134e4eb845c96b34c93ed65a223f89d089bacb273ef96f57509ce0bed  unpacked/usr/share/doc/weka/examples/credit-g.arff
SUMS
cd "$root"
go run ./testdata/fetch "$tmp/unpacked" data/builtin

//! Files that other programs make: Debian's packages of `.ci/tools`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::Expected::{self, Blind, No, Opened};
use super::payload::Payload;
use notifier_common::Reason::{Damaged, Encrypted, UnsupportedContainer as Unsupported};

/// A container, the shell's commands that make it (`out` of `a.gz`, the payload in a gzip, or of
/// `a.txt`), and what is to come of it.
pub(super) type Recipe = (&'static str, &'static str, Expected);

/// What ClamAV opens.
pub(super) const OPENED: [Recipe; 34] = [
    ("zip, stored", "7z a -tzip -mm=Copy o.zip a.gz; mv o.zip out", Opened),
    ("zip, deflated", "7z a -tzip -mm=Deflate o.zip a.txt; mv o.zip out", Opened),
    ("zip, Deflate64", "7z a -tzip -mm=Deflate64 o.zip a.txt; mv o.zip out", Opened),
    ("zip, bzip2", "7z a -tzip -mm=BZip2 o.zip a.txt; mv o.zip out", Opened),
    ("zip behind a program", "7z a -tzip o.zip a.gz; cat /bin/true o.zip > out", Opened),
    ("7z, copied", "7z a -m0=Copy o.7z a.gz; mv o.7z out", Opened),
    ("7z, LZMA", "7z a -m0=LZMA o.7z a.gz; mv o.7z out", Opened),
    ("7z, LZMA2", "7z a -m0=LZMA2 o.7z a.gz; mv o.7z out", Opened),
    ("7z, PPMd", "7z a -m0=PPMd o.7z a.txt; mv o.7z out", Opened),
    ("7z, a long name", "7z a -si$(printf %09000d 0) o.7z < a.gz; mv o.7z out", Opened),
    ("7z, x86 programs", "cp /bin/true x.exe; 7z a o.7z x.exe a.gz; mv o.7z out", Opened),
    ("7z, packed header", "touch b c d e f; 7z a -mhc=on o.7z a.gz b c d e f; mv o.7z out", Opened),
    ("gzip", "gzip -c a.txt > out", Opened),
    ("gzip, second member", "(echo x | gzip -c; gzip -c a.txt) > out", Opened),
    ("bzip2", "bzip2 -c a.txt > out", Opened),
    ("xz", "xz -c a.txt > out", Opened),
    ("tar", "tar -cf out a.gz", Opened),
    ("tar, v7", "tar --format=v7 -cf out a.gz", Opened),
    ("tar, pax", "tar --format=pax -cf out a.gz", Opened),
    ("tar.bz2", "tar -cjf out a.gz", Opened),
    ("cpio, newc", "echo a.gz | cpio -o -H newc > out", Opened),
    ("cpio, odc", "echo a.gz | cpio -o -H odc > out", Opened),
    ("cpio, crc", "echo a.gz | cpio -o -H crc > out", Opened),
    ("cpio, old", "echo a.gz | cpio -o -H bin > out", Opened),
    ("ARJ", "arj a o a.gz; mv o.arj out", Opened),
    ("LHA, lh1", "jlha ag o.lzh a.txt; mv o.lzh out", Opened),
    ("LHA, lh5", "jlha ao5 o.lzh a.txt; mv o.lzh out", Opened),
    ("LHA, lh6", "jlha ao6 o.lzh a.txt; mv o.lzh out", Opened),
    ("LHA, lh7", "jlha ao7 o.lzh a.txt; mv o.lzh out", Opened),
    (
        "bzip2, every bit that a stream can end at",
        "for n in $(seq 24); do (cat a.txt; seq $n) | bzip2 > $n.bz2; done; tar -cf out *.bz2",
        Opened,
    ),
    ("ISO 9660", "genisoimage -quiet -R -J -o out a.gz", Opened),
    ("ISO 9660 and UDF", "genisoimage -quiet -udf -o out a.gz", Opened),
    (
        "uuencoded",
        "(echo begin 644 a; perl -0777 -ne 'print pack(\"u\",$_)' a.gz; echo '`'; echo end) > out",
        Opened,
    ),
    ("S/MIME, signed", SIGNED, Opened),
];

const SIGNED: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=x; \
    openssl smime -sign -nodetach -in a.txt -signer c -inkey k -out out";
const ENVELOPED: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=x; \
    openssl smime -encrypt -in a.txt -out out c";
const ENVELOPED_DER: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=x; \
    openssl cms -encrypt -outform DER -in a.txt -out out c";
const DEB: &str = "mkdir -p p/DEBIAN p/usr; cp a.gz p/usr; cd p; printf 'Package: x\\nVersion: 1\\n\
    Architecture: all\\nMaintainer: x <x@example.com>\\nDescription: x\\n' > DEBIAN/control; cd ..; \
    dpkg-deb -b p out";

/// What ClamAV does not open.
pub(super) const UNSUPPORTED: [Recipe; 42] = [
    (
        "zip behind a tar",
        "echo x > b; tar -cf t b; zip -q o.zip a.txt; cat t o.zip > out",
        No(Unsupported),
    ),
    ("zip64", "zip -q -fz o.zip a.gz; mv o.zip out", No(Unsupported)),
    ("zip from a pipe", "cat a.gz | zip -q out.zip -; mv out.zip out", No(Unsupported)),
    ("bzip2, second stream", "(echo x | bzip2 -c; bzip2 -c a.gz) > out", No(Unsupported)),
    ("xz, second stream", "(echo x | xz -c; xz -c a.gz) > out", No(Unsupported)),
    ("LZ4", "lz4 -q -c a.gz > out", No(Unsupported)),
    ("LZ4, legacy", "lz4 -q -l -c a.gz > out", No(Unsupported)),
    ("lzip", "lzip -c a.txt > out", No(Unsupported)),
    ("LZMA alone", "xz --format=lzma -c a.txt > out", No(Unsupported)),
    (
        "LZMA alone, known size",
        "7z a -tlzma o.lzma a.txt || lzip -h; [ -f o.lzma ] || \
        (xz --format=lzma -c a.txt | perl -0777 -pe 'substr($_,5,8)=pack(\"Q<\",-s \"a.txt\")') > o.lzma; \
        mv o.lzma out",
        No(Unsupported),
    ),
    ("lzop", "lzop -q -c a.gz > out", No(Unsupported)),
    ("lrzip", "lrzip -q -o out a.gz", No(Unsupported)),
    ("rzip", "rzip -o out a.gz", No(Unsupported)),
    ("compress (.Z)", "compress -c a.txt > out", No(Unsupported)),
    ("zip, LZMA", "7z a -tzip -mm=LZMA o.zip a.txt; mv o.zip out", No(Unsupported)),
    ("zip, PPMd", "7z a -tzip -mm=PPMd o.zip a.txt; mv o.zip out", No(Unsupported)),
    ("zip, XZ", "7z a -tzip -mm=XZ o.zip a.txt; mv o.zip out", No(Unsupported)),
    (
        "zip, LZMA, behind a program",
        "7z a -tzip -mm=LZMA o.zip a.txt; cat /bin/true o.zip > out",
        No(Unsupported),
    ),
    (
        "zip, last volume",
        "head -c 200000 /dev/urandom > b; zip -q -s 64k o.zip a.gz b; mv o.zip out",
        No(Unsupported),
    ),
    ("7z, bzip2", "7z a -mhc=off -m0=BZip2 o.7z a.txt; mv o.7z out", No(Unsupported)),
    ("7z, Deflate", "7z a -mhc=off -m0=Deflate o.7z a.txt; mv o.7z out", No(Unsupported)),
    ("7z, Deflate64", "7z a -mhc=off -m0=Deflate64 o.7z a.txt; mv o.7z out", No(Unsupported)),
    ("7z, Delta", "7z a -mhc=off -m0=Delta:4 -m1=LZMA o.7z a.gz; mv o.7z out", No(Unsupported)),
    ("7z, ARM Thumb", "7z a -mhc=off -m0=ARMT -m1=LZMA o.7z a.gz; mv o.7z out", No(Unsupported)),
    ("7z, ARM64", "7z a -mhc=off -m0=ARM64 -m1=LZMA2 o.7z a.gz; mv o.7z out", No(Unsupported)),
    ("7z, PowerPC", "7z a -mhc=off -m0=PPC -m1=LZMA o.7z a.gz; mv o.7z out", No(Unsupported)),
    ("7z, SPARC", "7z a -mhc=off -m0=SPARC -m1=LZMA o.7z a.gz; mv o.7z out", No(Unsupported)),
    ("7z, IA-64", "7z a -mhc=off -m0=IA64 -m1=LZMA o.7z a.gz; mv o.7z out", No(Unsupported)),
    (
        "7z, swapped bytes",
        "7z a -mhc=off -m0=Swap2 -m1=LZMA o.7z a.gz; mv o.7z out",
        No(Unsupported),
    ),
    ("WIM", "7z a -twim o.wim a.gz; mv o.wim out", No(Unsupported)),
    ("WIM, XPRESS", "mkdir d; mv a.txt d; wimcapture d out --compress=XPRESS", No(Unsupported)),
    ("WIM, LZMS solid (ESD)", "mkdir d; mv a.txt d; wimcapture d out --solid", No(Unsupported)),
    ("ar", "ar q out a.gz", No(Unsupported)),
    ("Debian package", DEB, No(Unsupported)),
    ("Squashfs", "mksquashfs a.txt out -quiet -no-progress", No(Unsupported)),
    ("FAT", "truncate -s 1440k out; mkfs.fat out; mcopy -i out a.gz ::", No(Unsupported)),
    ("FAT32", "truncate -s 2M out; mkfs.fat -F 32 -s 1 out; mcopy -i out a.gz ::", No(Unsupported)),
    ("ext4", "mkdir d; mv a.gz d; mke2fs -q -t ext4 -d d out 1M", No(Unsupported)),
    ("ext2", "mkdir d; mv a.gz d; mke2fs -q -t ext2 -d d out 1M", No(Unsupported)),
    (
        "FAT in a partition",
        "truncate -s 1440k f; mkfs.fat f; mcopy -i f a.gz ::; truncate -s 2M out; \
        perl -e 'open F,\"+<\",\"out\"; seek F,446,0; print F pack(\"CCCCCCCCVV\",0,0,2,0,6,0,2,0,64,2880); \
        seek F,510,0; print F \"\\x55\\xaa\"'; dd if=f of=out bs=512 seek=64 conv=notrunc",
        No(Unsupported),
    ),
    (
        "ISO 9660 with a Squashfs",
        "mksquashfs a.txt s -quiet -no-progress; genisoimage -quiet -o out s",
        No(Unsupported),
    ),
    ("tar with an LZ4", "lz4 -q -c a.gz > b.lz4; tar -cf out b.lz4", No(Unsupported)),
];

/// What is encrypted.
pub(super) const ENCRYPTED: [Recipe; 11] = [
    ("zip, ZipCrypto", "7z a -tzip -psecret o.zip a.txt; mv o.zip out", No(Encrypted)),
    ("zip, AES", "7z a -tzip -psecret -mem=AES256 o.zip a.txt; mv o.zip out", No(Encrypted)),
    (
        "zip, one member of two",
        "zip -q -P secret o.zip a.txt; echo x > b; zip -q o.zip b; mv o.zip out",
        No(Encrypted),
    ),
    ("7z, AES", "7z a -psecret o.7z a.txt; mv o.7z out", No(Encrypted)),
    ("7z, AES, header too", "7z a -psecret -mhe=on o.7z a.txt; mv o.7z out", No(Encrypted)),
    ("ARJ, garbled", "arj a -gsecret o a.txt; mv o.arj out", No(Encrypted)),
    ("openssl enc", "openssl enc -aes-256-cbc -pbkdf2 -k x -in a.txt -out out", No(Encrypted)),
    ("S/MIME, encrypted", ENVELOPED, No(Encrypted)),
    ("CMS, encrypted", ENVELOPED_DER, No(Encrypted)),
    (
        "zip, AES, in a tar.gz",
        "7z a -tzip -psecret -mem=AES256 o.zip a.txt; tar -czf out o.zip",
        No(Encrypted),
    ),
    ("7z, AES, in a 7z", "7z a -psecret o.7z a.txt; 7z a p.7z o.7z; mv p.7z out", No(Encrypted)),
];

/// What was cut off or damaged.
pub(super) const DAMAGED: [Recipe; 13] = [
    ("zip, cut in its directory", "7z a -tzip o.zip a.txt; head -c -40 o.zip > out", No(Damaged)),
    ("zip, cut in its data", "7z a -tzip o.zip a.txt; head -c 200 o.zip > out", No(Damaged)),
    (
        "zip, first volume",
        "head -c 200000 /dev/urandom > b; zip -q -s 64k o.zip b a.txt; mv o.z01 out",
        No(Damaged),
    ),
    ("7z, cut in its header", "7z a o.7z a.txt; head -c -30 o.7z > out", No(Damaged)),
    ("7z, cut in its data", "7z a o.7z a.txt; head -c 150 o.7z > out", No(Damaged)),
    (
        "7z, first volume",
        "head -c 2000 /dev/urandom > b; 7z a -v1k -mx=0 o.7z b a.gz; mv o.7z.001 out",
        No(Damaged),
    ),
    ("xz, cut", "xz -c a.txt | head -c -20 > out", No(Damaged)),
    ("xz, without its footer", "xz -c a.txt | head -c -12 > out", No(Damaged)),
    ("bzip2, cut", "bzip2 -c a.txt | head -c -20 > out", No(Damaged)),
    ("bzip2, cut by three bytes", "bzip2 -c a.txt | head -c -3 > out", No(Damaged)),
    ("tar of a cut xz", "xz -c a.txt | head -c -20 > b.xz; tar -cf out b.xz", No(Damaged)),
    ("gzip, cut", "gzip -c a.txt | head -c 60 > out", No(Damaged)),
    (
        "7z, second volume",
        "head -c 2000 /dev/urandom > b; 7z a -v1k -mx=0 o.7z a.gz b; mv o.7z.002 out",
        Blind("a later volume of several"),
    ),
];

/// What is beyond the limits that clamd comes with: `MaxHTMLNormalize` of 40 MB, `MaxFileSize` of
/// 100 MB, `MaxScanSize` of 400 MB (clamd.conf(5) of 1.4). The payload is at the end. Each takes
/// seconds, so they are made with the marker only.
pub(super) const BEYOND: [Recipe; 4] = [
    (
        "HTML of 42 MB, in entities",
        "(printf '<html><body>'; yes '<p>x</p>' | head -n 4700000; \
        perl -ne 'print map {sprintf \"&#%d;\", ord} split //' a.txt; echo '</body></html>') > out",
        Opened,
    ),
    ("file of 99 MB", "(head -c 99000000 /dev/zero; cat a.txt) > out", Opened),
    (
        "zip, member of 110 MB",
        "(head -c 110000000 /dev/zero; cat a.txt) > b; 7z a -tzip -mx=1 o.zip b; mv o.zip out",
        Opened,
    ),
    (
        "zip, five members of 95 MB",
        "for n in 1 2 3 4; do head -c 95000000 /dev/zero > $n; done; \
        (head -c 95000000 /dev/zero; cat a.txt) > 5; 7z a -tzip -mx=1 o.zip 1 2 3 4 5; mv o.zip out",
        Opened,
    ),
];

/// What no signature recognises; clamd's log says some of it.
pub(super) const BLIND: [Recipe; 10] = [
    (
        "bzip2, damaged in its data",
        "bzip2 -c a.txt | perl -0777 -pe 'substr($_,60,9)=\"x\"x9' > out",
        No(Damaged),
    ),
    (
        "xz, damaged in its data",
        "xz -c a.txt | perl -0777 -pe 'substr($_,40,9)=\"x\"x9' > out",
        No(Damaged),
    ),
    (
        "7z, damaged in its data",
        "7z a o.7z a.txt; perl -0777 -pe 'substr($_,60,9)=\"x\"x9' o.7z > out",
        No(Damaged),
    ),
    (
        "7z, a long name, damaged in its data",
        "7z a -si$(printf %09000d 0) o.7z < a.txt; perl -0777 -pe 'substr($_,60,9)=\"x\"x9' o.7z > out",
        No(Damaged),
    ),
    ("ARJ, cut", "arj a o a.txt; head -c 180 o.arj > out", No(Damaged)),
    ("LHA, cut", "jlha ao5 o.lzh a.txt; head -c 100 o.lzh > out", No(Damaged)),
    ("Brotli", "brotli -c a.txt > out", Blind("Brotli")),
    ("bare Deflate", "gzip -c a.txt | tail -c +16 | head -c -8 > out", Blind("bare Deflate")),
    ("Base64", "base64 a.txt > out", Blind("Base64 alone")),
    (
        "7z, bzip2, packed header",
        "for n in 1 2 3 4 5 6 7 8 9; do (cat a.txt; echo $n) > $n.txt; done; \
        7z a -m0=BZip2 o.7z *.txt; mv o.7z out",
        No(Unsupported),
    ),
];

/// Makes `out` with the shell.
pub(super) fn make(commands: &str, payload: &Payload) -> anyhow::Result<Vec<u8>> {
    let dir = tempfile::tempdir().context("making a folder for a file")?;
    payload.write(dir.path())?;
    let output = Command::new("sh")
        .args(["-c", commands])
        .current_dir(dir.path())
        .env("LC_ALL", "C")
        .output()
        .context("starting a shell")?;
    read(dir.path()).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("`{commands}` made no file (are the packages of .ci/tools there?); it said: {said}")
    })
}

fn read(dir: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(dir.join("out"))?;
    if bytes.is_empty() {
        bail!("it is empty");
    }
    Ok(bytes)
}

//! The records of a commit as one blob: their lengths, then their bytes, as one zstd frame with a checksum.
//!
//! Records of one commit are alike, so together they take a sixth of what they take one by one.

use bytes::Bytes;
use std::io;
use zstd::{
    bulk::Compressor,
    zstd_safe::{CParameter, compress_bound},
};

/// The fastest level that still finds most of what is alike.
const LEVEL: i32 = 1;
/// A blob holds at most so many records and about so many bytes of them: what a reader has to unpack at once.
const MOST_RECORDS: usize = 4096;
const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub count: u32,
    /// Size unpacked.
    pub raw: u32,
    pub bytes: Vec<u8>,
}

/// The records laid end to end, as they are before compression; a part for each blob that they will be.
pub(super) fn laid_out(records: &[Vec<u8>]) -> Vec<(u32, Vec<u8>)> {
    let mut parts = Vec::with_capacity(1);
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |record: &&Vec<u8>| {
            bytes += record.len();
            bytes <= MOST_BYTES
        };
        let count = rest.iter().take(MOST_RECORDS).take_while(fits).count().max(1);
        let (part, later) = rest.split_at(count);
        let mut raw = Vec::with_capacity(part.iter().map(|record| 4 + record.len()).sum());
        for record in part {
            raw.extend_from_slice(&(record.len() as u32).to_le_bytes()); // a record is at most 64 KiB
        }
        for record in part {
            raw.extend_from_slice(record);
        }
        parts.push((count as u32, raw)); // at most MOST_RECORDS
        rest = later;
    }
    parts
}

/// Packs, with a context that is made once: making it costs more than using it.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    pub fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self(compressor))
    }

    pub fn pack(&mut self, parts: Vec<(u32, Vec<u8>)>) -> io::Result<Vec<Blob>> {
        let mut blobs = Vec::with_capacity(parts.len());
        for (count, raw) in parts {
            let mut bytes = Vec::with_capacity(compress_bound(raw.len()));
            self.0.compress_to_buffer(&raw, &mut bytes)?;
            bytes.shrink_to_fit();
            blobs.push(Blob { count, raw: raw.len() as u32, bytes }); // MOST_BYTES and the lengths, or one record
        }
        Ok(blobs)
    }
}

/// The records of a blob, as slices of one buffer; what is wrong with it when it is damaged.
pub(super) fn unpack(blob: &Blob) -> Result<Vec<Bytes>, String> {
    let raw = zstd::bulk::decompress(&blob.bytes, blob.raw as usize).map_err(|e| e.to_string())?;
    let count = blob.count as usize;
    let lengths = raw.get(..4 * count).ok_or("it is too short for its lengths")?;
    let lengths: Vec<usize> =
        lengths.chunks_exact(4).map(|l| l.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b))).collect();
    if 4 * count + lengths.iter().sum::<usize>() != raw.len() {
        return Err("its lengths do not add up".to_owned());
    }
    let raw = Bytes::from(raw);
    let mut at = 4 * count;
    let record = |len: usize| {
        at += len;
        raw.slice(at - len..at)
    };
    Ok(lengths.into_iter().map(record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(records: &[Vec<u8>]) -> Vec<Blob> {
        Packer::new().unwrap().pack(laid_out(records)).unwrap()
    }

    #[test]
    fn records_come_back_byte_for_byte() {
        for records in [vec![], vec![vec![]], vec![b"{}".to_vec(), vec![], vec![0, 10, 255], vec![7; 65536]]] {
            let back: Vec<_> = packed(&records).iter().flat_map(|blob| unpack(blob).unwrap()).collect();
            assert_eq!(back, records);
        }
    }

    #[test]
    fn many_records_are_several_blobs() {
        let counts = |records: &[Vec<u8>]| packed(records).iter().map(|blob| blob.count).collect::<Vec<_>>();
        assert_eq!(counts(&vec![b"{}".to_vec(); 5000]), [4096, 904]);
        assert_eq!(counts(&vec![vec![b'x'; 400_000]; 5]), [2, 2, 1]);
    }

    #[test]
    fn every_damage_is_noticed() {
        let records: Vec<_> = (0..50).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
        let [blob] = packed(&records).try_into().unwrap();
        for at in 0..blob.bytes.len() {
            for flip in [1, 0x80] {
                let mut bytes = blob.bytes.clone();
                bytes[at] ^= flip;
                let back = unpack(&Blob { bytes, ..blob });
                // A bit of the frame's header may mean nothing; then the records are the same.
                assert!(back.is_err() || back.unwrap() == records, "byte {at}");
            }
        }
        for len in 0..blob.bytes.len() {
            assert!(unpack(&Blob { bytes: blob.bytes[..len].to_vec(), ..blob }).is_err());
        }
    }
}

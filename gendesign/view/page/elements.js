// Symbols by atomic number, and covalent radii (Angstrom; Cordero 2008) of those that grow here.
export const SYMBOLS = ("X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru "
  + "Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn "
  + "Fr Ra Ac Th Pa U Np Pu Am Cm").split(" ");
const RADII = { 1: 0.31, 5: 0.84, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 14: 1.11, 15: 1.07, 16: 1.05, 17: 1.02, 35: 1.2, 53: 1.39 };
export const radius = (number) => RADII[number] || 1.4;

// Bonds by lengths, of atoms that have none yet because they move.
export function bondsOf(numbers, positions) {
  const bonds = [];
  for (let i = 0; i < numbers.length; i++) {
    for (let j = i + 1; j < numbers.length; j++) {
      const most = 1.25 * (radius(numbers[i]) + radius(numbers[j]));
      const [x, y, z] = [0, 1, 2].map((k) => positions[i][k] - positions[j][k]);
      if (x * x + y * y + z * z < most * most) bonds.push([i, j, 1]);
    }
  }
  return bonds;
}

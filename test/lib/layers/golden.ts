export const goldenCases: { name: string; layer: any; inputs: any; options: any; y: any; dy: any; gradients: any }[] = [];
